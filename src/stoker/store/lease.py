"""Lease: of all platform processes on one database, one dispatches."""

from __future__ import annotations

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from stoker.store.database import Database

_LOCK = 0x57_0C_E2  # an arbitrary number that only Stoker's dispatchers lock


class Lease:
    """On SQLite the lock of the home already says it. On PostgreSQL it is an advisory lock, which hangs on a
    connection kept open for it, so the server drops it when this process or its machine dies."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: Connection | None = None

    def held(self) -> bool:
        """Whether this process may dispatch now; takes the lease when it is free."""
        if self._database.single_process:
            return True
        if self._connection is not None and self._alive(self._connection):
            return True
        self._connection = self._take()
        return self._connection is not None

    def release(self) -> None:
        if self._connection is not None:
            if self._alive(self._connection):
                self._connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": _LOCK})
                self._connection.commit()
            self._connection.close()
            self._connection = None

    def _take(self) -> Connection | None:
        connection = self._database.keep()
        if connection.execute(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": _LOCK}).scalar():
            connection.commit()
            return connection
        connection.close()
        return None

    def _alive(self, connection: Connection) -> bool:
        """Whether the server is still there; a connection that is lost lost the lease with it."""
        if connection.invalidated:
            return False
        try:
            connection.execute(text("SELECT 1"))
            connection.commit()
        except DBAPIError:
            connection.close()
            return False
        return True
