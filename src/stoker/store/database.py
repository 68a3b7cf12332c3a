"""The one database: SQLite in the home by default, PostgreSQL by URL.

SQLite runs in WAL mode with synchronous=NORMAL: what was acknowledged is with the kernel, so it survives `kill -9`.
`flush` brings it to the disk within half a second, the most that a power cut may cost.
"""

from __future__ import annotations

import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Executable, bindparam, create_engine, event, select, text
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.engine import Engine
from sqlalchemy.exc import OperationalError

from stoker import __version__
from stoker.errors import Away, HomeNewer, NoSpace
from stoker.store.flush import Flush
from stoker.store.migrations import REVISIONS, upgrade
from stoker.store.tables import counters, facts

_FULL = ("disk is full", "no space left", "disk full", "disk i/o error")
_CONNECT_SECONDS = 30.0
_INSTALLATION = "installation"
_ORDER_LOCK = 0x57_0C_E1  # an arbitrary number that only Stoker locks


class Database:
    """Short transactions on one connection each. Writers take turns within the process."""

    def __init__(self, url: str, *, where: str = "") -> None:
        """`where` names the database in messages; the URL itself may hold a password."""
        self._where = where or url.rsplit("@", maxsplit=1)[-1]
        self._engine = _sqlite(url) if url.startswith("sqlite") else create_engine(url, pool_pre_ping=True)
        self._writing = threading.RLock()
        self._take = _take_statement(sqlite_insert if self.single_process else postgresql_insert)
        file = self._engine.url.database if self.single_process else None
        self._flush = Flush(Path(f"{file}-wal")) if file else None

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent view. Raises Away when the database does not answer."""
        with self._plainly(), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self, *, durable: bool = True) -> Iterator[Connection]:
        """One transaction: committed when the block ends, rolled back when it raises. Raises NoSpace, Away.

        `durable`: on the disk when this returns, so that a power cut loses nothing that was acknowledged. What can
        be seen anew after a restart (the moves of jobs) need not wait: it follows within half a second.
        """
        with self._plainly(), self._writing, self._engine.connect() as plain:
            connection = plain.execution_options(stoker_writes=True)
            with connection.begin():
                yield connection
        if self._flush:
            # Behind the lock: writers that wait for the disk do so side by side.
            self._flush.now() if durable else self._flush.soon()

    def take_ids(self, connection: Connection, name: str, count: int = 1) -> int:
        """The first of `count` fresh, never used, adjacent ids of counter `name`."""
        after = connection.execute(self._take, {"of": name, "after_first": 1 + count, "count": count}).scalar_one()
        return int(after) - count

    def take_turns(self, connection: Connection) -> None:
        """From here to the end of its transaction `connection` is the only one past this point.

        What it numbers and writes then becomes visible in the order of the numbers. SQLite has one writer anyway.
        """
        if not self.single_process:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _ORDER_LOCK})

    def migrate(self) -> None:
        """Bring the schema to this version; raises HomeNewer when a newer Stoker wrote it."""
        found, writer = self._revision()
        if found is not None and found not in REVISIONS:
            raise HomeNewer(
                f"{self._where} was written by version {writer}, this is {__version__};"
                " upgrade Stoker or use another --home"
            )
        if found != REVISIONS[-1]:
            with self.write() as connection:
                upgrade(connection)
        with self.write() as connection:
            connection.execute(facts.delete().where(facts.c.name == "written_by"))
            connection.execute(facts.insert().values(name="written_by", value=__version__))
            if connection.execute(select(facts.c.value).where(facts.c.name == _INSTALLATION)).scalar() is None:
                connection.execute(facts.insert().values(name=_INSTALLATION, value=secrets.token_hex(6)))

    def installation(self) -> str:
        """What tells this platform from all others: 12 hexadecimal digits, the same for good."""
        with self.read() as connection:
            return str(connection.execute(select(facts.c.value).where(facts.c.name == _INSTALLATION)).scalar_one())

    @property
    def single_process(self) -> bool:
        """Whether the lock of the home already keeps other processes away."""
        return self._engine.dialect.name == "sqlite"

    def keep(self) -> Connection:
        """A connection for the caller to hold and close. Raises Away."""
        with self._plainly():
            return self._engine.connect()

    def close(self) -> None:
        if self._flush:
            self._flush.stop()
        self._engine.dispose()

    def _revision(self) -> tuple[str | None, str]:
        with self.read() as connection:
            if not self._engine.dialect.has_table(connection, "alembic_version"):
                return None, ""
            found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
            writer = None
            if self._engine.dialect.has_table(connection, "facts"):
                writer = connection.execute(text("SELECT value FROM facts WHERE name = 'written_by'")).scalar()
            return found, writer or "unknown"

    @contextmanager
    def _plainly(self) -> Iterator[None]:
        """The database's own troubles, told in one line."""
        try:
            yield
        except OperationalError as error:
            cause = str(error.orig)
            if any(sign in cause.lower() for sign in _FULL):
                raise NoSpace(f"no space left for {self._where}; free some and try again") from error
            raise Away(f"the database {self._where} does not answer: {cause}") from error


def _take_statement(insert: Callable[..., Any]) -> Executable:
    """Raise a counter, made when it is missing. Built once: that costs more than to run it."""
    fresh = insert(counters).values(name=bindparam("of"), next=bindparam("after_first"))
    raised = fresh.on_conflict_do_update(
        index_elements=[counters.c.name], set_={"next": counters.c.next + bindparam("count")}
    )
    statement: Executable = raised.returning(counters.c.next)
    return statement


def _sqlite(url: str) -> Engine:
    engine = create_engine(
        url,
        connect_args={"timeout": _CONNECT_SECONDS, "check_same_thread": False},
        pool_size=8,
        max_overflow=32,
        pool_reset_on_return=None,  # every transaction is ended where it was begun
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # transactions are begun below, not guessed by the driver
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA temp_store=MEMORY")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("stoker_writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
