"""What this platform keeps closed. It is written before an engine is told, and removed after."""

from __future__ import annotations

import json
from dataclasses import replace

from sqlalchemy import ColumnElement, Connection, Row, select
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

    def confirm(self, drain: NodeDrain) -> None:
        """Its engine has been told."""
        with self._database.write() as connection:
            if _same(connection, drain):
                told = {"document": _document(replace(drain, told=True))}
                connection.execute(drains.update().where(_at(drain.place)).values(told))

    def remove(self, drain: NodeDrain) -> bool:
        """False when this very drain is not kept (any more)."""
        with self._database.write() as connection:
            return (
                _same(connection, drain)
                and connection.execute(drains.delete().where(_at(drain.place))).rowcount == 1
            )

    def all(self) -> dict[Place, NodeDrain]:
        with self._database.read() as connection:
            found = [
                _kept(row) for row in connection.execute(select(drains).order_by(drains.c.engine, drains.c.node))
            ]
        return {drain.place: drain for drain in found}


def _at(place: Place) -> ColumnElement[bool]:
    return (drains.c.engine == place.engine) & (drains.c.node == place.node)


def _same(connection: Connection, drain: NodeDrain) -> bool:
    """Whether it is this drain that is kept, told or not."""
    row = connection.execute(select(drains).where(_at(drain.place))).one_or_none()
    return row is not None and replace(_kept(row), told=drain.told) == drain


def _document(drain: NodeDrain) -> str:
    return json.dumps(dump(drain), ensure_ascii=False, sort_keys=True)


def _kept(row: Row[tuple[object, ...]]) -> NodeDrain:
    return read(NodeDrain, json.loads(row.document), what="stored drain")
