"""Policies of automatic moves, one for each pair of engines."""

from __future__ import annotations

import json

from sqlalchemy import select

from stoker.balance import Balance
from stoker.store.database import Database
from stoker.store.tables import balances
from stoker.typed import dump, read


class BalanceStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, balance: Balance) -> None:
        """Set it, in place of the one of the same engines."""
        document = json.dumps(dump(balance), ensure_ascii=False)
        with self._database.write() as connection:
            connection.execute(balances.delete().where(balances.c.pair == balance.pair))
            connection.execute(balances.insert().values(pair=balance.pair, document=document))

    def remove(self, pair: str) -> bool:
        """False when there is none."""
        with self._database.write() as connection:
            return connection.execute(balances.delete().where(balances.c.pair == pair)).rowcount == 1

    def all(self) -> list[Balance]:
        with self._database.read() as connection:
            rows = connection.execute(select(balances).order_by(balances.c.pair))
            return [read(Balance, json.loads(row.document), what="stored balance") for row in rows]
