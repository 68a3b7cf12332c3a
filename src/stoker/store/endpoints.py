"""Endpoints as the store keeps them. The keys of replicas are not among it: they lie in files of their own."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from sqlalchemy import Row, select
from sqlalchemy.exc import IntegrityError

from stoker.endpoint import Endpoint
from stoker.errors import NotFound
from stoker.store.database import Database
from stoker.store.tables import endpoints
from stoker.typed import dump, read


@dataclass(frozen=True)
class KeptEndpoint:
    """An endpoint with the revision it was read at."""

    endpoint: Endpoint
    revision: int


class EndpointStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, endpoint: Endpoint) -> bool:
        """False when there is one of that name already."""
        row = {"name": endpoint.name, "tenant": endpoint.tenant, "revision": 1, "document": _document(endpoint)}
        try:
            with self._database.write() as connection:
                connection.execute(endpoints.insert().values(row))
        except IntegrityError:
            return False
        return True

    def save(self, endpoint: Endpoint, revision: int) -> bool:
        """Replace the endpoint if nobody has since `revision`; False when somebody has."""
        mine = (endpoints.c.name == endpoint.name) & (endpoints.c.revision == revision)
        change = {"revision": revision + 1, "document": _document(endpoint)}
        with self._database.write() as connection:
            return connection.execute(endpoints.update().where(mine).values(change)).rowcount == 1

    def remove(self, name: str, revision: int) -> bool:
        """Remove it if nobody has changed it since `revision`; False when somebody has."""
        mine = (endpoints.c.name == name) & (endpoints.c.revision == revision)
        with self._database.write() as connection:
            return connection.execute(endpoints.delete().where(mine)).rowcount == 1

    def get(self, name: str) -> KeptEndpoint:
        found = self.maybe(name)
        if found is None:
            raise missing(name)
        return found

    def maybe(self, name: str) -> KeptEndpoint | None:
        with self._database.read() as connection:
            row = connection.execute(select(endpoints).where(endpoints.c.name == name)).one_or_none()
        return _kept(row) if row else None

    def all(self) -> list[KeptEndpoint]:
        with self._database.read() as connection:
            return [_kept(row) for row in connection.execute(select(endpoints).order_by(endpoints.c.name))]


def missing(name: str) -> NotFound:
    """The same words whether there is none or it is another tenant's."""
    return NotFound(f'no endpoint "{name}"; see: stoker endpoints list')


def _document(endpoint: Endpoint) -> str:
    bare = replace(endpoint, replicas=tuple(replace(one, secret="") for one in endpoint.replicas))
    return json.dumps(dump(bare), ensure_ascii=False)


def _kept(row: Row[tuple[object, ...]]) -> KeptEndpoint:
    return KeptEndpoint(read(Endpoint, json.loads(row.document), what="stored endpoint"), row.revision)
