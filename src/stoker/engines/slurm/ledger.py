"""Ledger: what this platform has given to one Slurm, on the platform's own disk.

An order is entered before anything is done for it outside, so that after a crash at any moment it is known what may
have happened. Forgotten orders stay as tombstones for a while: a Slurm job of one is a leftover, not news.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from stoker.engine import Key, Observation
from stoker.job import JobState

_TOMBSTONES_S = 90 * 86_400.0
_SCHEMA = """
create table if not exists orders (
    job integer not null, attempt integer not null, slurm integer, options text not null, address text not null,
    time_limit real, entered_at real not null, cancel_at real, grace real not null default 0, ended text,
    forgotten integer not null default 0, primary key (job, attempt)) without rowid
"""
_COLUMNS = "job, attempt, slurm, options, address, time_limit, entered_at, cancel_at, grace, ended"


@dataclass(frozen=True)
class Entry:
    """One order."""

    key: Key
    options: tuple[str, ...]  # of sbatch
    address: str  # of its first node
    time_limit: float | None
    entered_at: float
    slurm: int | None = None  # id of its job there; None: nobody can say yet
    cancel_at: float | None = None  # when it was asked to end
    grace: float = 0.0
    ended: Observation | None = None


class Ledger:
    """Thread-safe; every change is on the disk when the method returns."""

    def __init__(self, path: Path, now: float) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = threading.Lock()
        self._disk = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30.0)
        self._disk.execute("pragma journal_mode=wal")
        self._disk.execute("pragma synchronous=full")
        self._disk.execute(_SCHEMA)
        self._disk.execute("delete from orders where forgotten and entered_at < ?", (now - _TOMBSTONES_S,))
        rows = self._disk.execute(f"select {_COLUMNS} from orders where not forgotten")  # noqa: S608
        self._entries = {entry.key: entry for entry in map(_entry, rows)}

    def all(self) -> list[Entry]:
        with self._lock:
            return list(self._entries.values())

    def get(self, key: Key) -> Entry | None:
        with self._lock:
            return self._entries.get(key)

    def buried(self, key: Key) -> bool:
        """Whether it was here and was forgotten."""
        with self._lock:
            found = self._disk.execute(
                "select 1 from orders where job = ? and attempt = ? and forgotten", (key.job, key.attempt)
            )
            return found.fetchone() is not None

    def write(self, entries: Iterable[Entry]) -> None:
        """Enter or change, all or none."""
        changed = list(entries)
        if not changed:
            return
        with self._lock:
            self._transaction(
                f"insert or replace into orders ({_COLUMNS}) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
                [_row(entry) for entry in changed],
            )
            self._entries.update({entry.key: entry for entry in changed})

    def strike(self, keys: Iterable[Key]) -> None:
        """As if they had never been entered."""
        self._drop("delete from orders where job = ? and attempt = ?", list(keys))

    def forget(self, keys: Iterable[Key]) -> None:
        self._drop("update orders set forgotten = 1, options = '[]' where job = ? and attempt = ?", list(keys))

    def close(self) -> None:
        with self._lock:
            self._disk.close()

    def _drop(self, statement: str, keys: list[Key]) -> None:
        with self._lock:
            self._transaction(statement, [(key.job, key.attempt) for key in keys])
            for key in keys:
                self._entries.pop(key, None)

    def _transaction(self, statement: str, rows: list[tuple[object, ...]]) -> None:
        self._disk.execute("begin immediate")
        try:
            self._disk.executemany(statement, rows)
        except BaseException:
            self._disk.execute("rollback")
            raise
        self._disk.execute("commit")


def _row(entry: Entry) -> tuple[object, ...]:
    ended = json.dumps({**entry.ended.__dict__, "state": entry.ended.state.value}) if entry.ended else None
    return (
        entry.key.job, entry.key.attempt, entry.slurm, json.dumps(entry.options), entry.address, entry.time_limit,
        entry.entered_at, entry.cancel_at, entry.grace, ended,
    )  # fmt: skip


def _entry(row: tuple[object, ...]) -> Entry:
    job, attempt, slurm, options, address, time_limit, entered_at, cancel_at, grace, ended = row
    entry = Entry(
        Key(int(str(job)), int(str(attempt))), tuple(json.loads(str(options))), str(address), time_limit,  # type: ignore[arg-type]
        entered_at, slurm, cancel_at, grace,  # type: ignore[arg-type]
    )  # fmt: skip
    if ended is None:
        return entry
    fields = json.loads(str(ended))
    return replace(entry, ended=Observation(**{**fields, "state": JobState(fields["state"])}))
