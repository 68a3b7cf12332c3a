"""Engines as administrators added them."""

from __future__ import annotations

import json

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from stoker.engine_config import EngineConfig
from stoker.errors import Conflict, NotFound
from stoker.store.database import Database
from stoker.store.tables import engines
from stoker.typed import dump, read


class EngineStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, config: EngineConfig) -> None:
        """Raises Conflict when the name is taken."""
        document = json.dumps(dump(config), ensure_ascii=False)
        try:
            with self._database.write() as connection:
                connection.execute(engines.insert().values(name=config.name, document=document))
        except IntegrityError:
            raise Conflict(
                f'there is an engine "{config.name}" already; choose another name or remove it first'
            ) from None

    def remove(self, name: str) -> None:
        """Raises NotFound."""
        with self._database.write() as connection:
            removed = connection.execute(engines.delete().where(engines.c.name == name)).rowcount
        if not removed:
            raise NotFound.named("engine", name, [config.name for config in self.all()])

    def all(self) -> list[EngineConfig]:
        with self._database.read() as connection:
            rows = connection.execute(select(engines).order_by(engines.c.name))
            return [read(EngineConfig, json.loads(row.document), what="stored engine") for row in rows]
