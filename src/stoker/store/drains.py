"""What this platform keeps closed. It is written before an engine is told, and removed after."""

from __future__ import annotations

import json

from sqlalchemy import Row, select
from sqlalchemy.exc import IntegrityError

from stoker.cluster import Place
from stoker.node_drain import NodeDrain
from stoker.store.database import Database
from stoker.store.tables import drains
from stoker.typed import dump, read


class DrainStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, drain: NodeDrain) -> bool:
        """False when the node is kept closed already."""
        row = {"engine": drain.place.engine, "node": drain.place.node, "document": _document(drain)}
        try:
            with self._database.write() as connection:
                connection.execute(drains.insert().values(row))
        except IntegrityError:
            return False
        return True

    def remove(self, drain: NodeDrain) -> bool:
        """False when this very drain is not kept (any more)."""
        same = (drains.c.engine == drain.place.engine) & (drains.c.node == drain.place.node)
        with self._database.write() as connection:
            this = same & (drains.c.document == _document(drain))
            return connection.execute(drains.delete().where(this)).rowcount == 1

    def get(self, place: Place) -> NodeDrain | None:
        return self.all().get(place)

    def all(self) -> dict[Place, NodeDrain]:
        with self._database.read() as connection:
            found = [
                _kept(row) for row in connection.execute(select(drains).order_by(drains.c.engine, drains.c.node))
            ]
        return {drain.place: drain for drain in found}


def _document(drain: NodeDrain) -> str:
    return json.dumps(dump(drain), ensure_ascii=False, sort_keys=True)


def _kept(row: Row[tuple[object, ...]]) -> NodeDrain:
    return read(NodeDrain, json.loads(row.document), what="stored drain")
