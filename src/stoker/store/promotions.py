"""The journal of who moved which alias when. Lines are added, never changed."""

from __future__ import annotations

from sqlalchemy import select

from stoker.model import Promotion
from stoker.store.database import Database
from stoker.store.tables import promotions
from stoker.typed import dump


class PromotionJournal:
    def __init__(self, database: Database) -> None:
        self._database = database

    def append(self, promotion: Promotion) -> None:
        with self._database.write() as connection:
            connection.execute(promotions.insert().values(dump(promotion)))

    def of(self, model: str) -> list[Promotion]:
        """Newest first."""
        query = select(promotions).where(promotions.c.model == model).order_by(promotions.c.id.desc())
        with self._database.read() as connection:
            return [
                Promotion(row.at, row.who, row.model, row.alias, row.version, row.previous, row.action)
                for row in connection.execute(query)
            ]
