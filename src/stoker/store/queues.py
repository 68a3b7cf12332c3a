"""Queues in the database, and what was used of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType

from sqlalchemy import Connection, select

from stoker.queue import Queue, Usage
from stoker.schedule import Credit
from stoker.store.database import Database
from stoker.store.tables import queue_credit, queue_usage, queues
from stoker.typed import dump, read


class QueueStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> Mapping[str, Queue]:
        with self._database.read() as connection:
            return _all(connection)

    def change(self, change: Callable[[Mapping[str, Queue]], Mapping[str, Queue]]) -> Mapping[str, Queue]:
        """Replace all queues by what `change` makes of them. Where it raises, they stay as they are."""
        with self._database.write() as connection:
            new = change(_all(connection))
            connection.execute(queues.delete())
            rows = [
                {"name": name, "document": json.dumps(dump(queue), ensure_ascii=False)}
                for name, queue in sorted(new.items())
            ]
            if rows:
                connection.execute(queues.insert(), rows)
        return new

    def usage(self) -> tuple[Usage, float | None]:
        """What was used, and as of when; None: nothing has been noted yet."""
        with self._database.read() as connection:
            rows = connection.execute(select(queue_usage)).all()
        used = {(row.queue, (row.tenant, row.owner)): row.used for row in rows}
        return used, max((row.at for row in rows), default=None)

    def note(self, usage: Usage, at: float) -> None:
        """Keep `usage` as of `at` in place of what was noted before."""
        rows = [
            {"queue": queue, "tenant": tenant, "owner": owner, "used": used, "at": at}
            for (queue, (tenant, owner)), used in usage.items()
        ]
        with self._database.write(durable=False) as connection:
            connection.execute(queue_usage.delete())
            if rows:
                connection.execute(queue_usage.insert(), rows)

    def credits(self) -> Mapping[str, Credit]:
        """What queues were short of, as noted last."""
        with self._database.read() as connection:
            rows = connection.execute(select(queue_credit)).all()
        return {row.queue: Credit(row.at, row.owed, row.short, row.most) for row in rows}

    def note_credits(self, accounts: Mapping[str, Credit]) -> None:
        """Keep `accounts` in place of those that were noted before."""
        rows = [{"queue": name, **account._asdict()} for name, account in accounts.items()]
        with self._database.write(durable=False) as connection:
            connection.execute(queue_credit.delete())
            if rows:
                connection.execute(queue_credit.insert(), rows)


def _all(connection: Connection) -> Mapping[str, Queue]:
    rows = connection.execute(select(queues).order_by(queues.c.name))
    return MappingProxyType({row.name: _queue(row.document) for row in rows})


@lru_cache(maxsize=4096)
def _queue(document: str) -> Queue:
    """Every scheduling pass asks for all of them."""
    return read(Queue, json.loads(document), what="stored queue")
