"""The scheduling policy in force, kept with the platform's other facts."""

from __future__ import annotations

import json

from sqlalchemy import select

from stoker.schedule import Policy
from stoker.store.database import Database
from stoker.store.tables import facts
from stoker.typed import dump, read

_NAME = "policy"


class PolicyStore:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._read: tuple[str | None, Policy] = (None, Policy())

    def get(self) -> Policy:
        """What was set last, by whichever process; the default when nothing was."""
        with self._database.read() as connection:
            text = connection.execute(select(facts.c.value).where(facts.c.name == _NAME)).scalar()
        if text != self._read[0]:
            self._read = text, Policy() if text is None else read(Policy, json.loads(text), what="stored policy")
        return self._read[1]

    def put(self, policy: Policy) -> None:
        with self._database.write() as connection:
            connection.execute(facts.delete().where(facts.c.name == _NAME))
            connection.execute(facts.insert().values(name=_NAME, value=json.dumps(dump(policy))))
