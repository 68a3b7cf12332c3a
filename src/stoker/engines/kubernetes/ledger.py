"""Ledger: what this platform must not forget of the attempts it gave to a cluster.

Written here before a call to the API server, it makes the call repeatable after a kill. Copied logs lie beside it,
in a folder an attempt (``<job>/<attempt>``). A database file, as many small files cost more than the API server.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stoker.engine import Key, Observation
from stoker.engines.kubernetes.pods import Plan
from stoker.job import JobState

Object = dict[str, Any]

_SCHEMA = """
create table if not exists attempts (
    job integer not null, attempt integer not null, plan text not null, nodes text not null, grace real not null,
    created integer not null default 0, cause text, ended text, forgotten integer not null default 0,
    primary key (job, attempt)) without rowid
"""
_LIVE = "create index if not exists live on attempts (forgotten) where not forgotten"
_COLUMNS = "job, attempt, plan, nodes, grace, created, cause, ended"


@dataclass
class Record:
    """One attempt. `created`, `cause` and `end` are set once, in this order; `cause` may be missing."""

    key: Key
    folder: Path  # of its logs, on the platform's machine
    plan: Plan
    nodes: tuple[str, ...]
    grace: float
    created: bool = False  # all its objects have been made
    cause: Observation | None = None  # why it ends, when that is not its own end
    end: Observation | None = None
    held_up: str = ""  # why it could not be created yet, in Kubernetes' words
    pods: dict[int, Object] = field(default_factory=dict)  # by rank, as seen last; those that are gone are marked

    @property
    def names(self) -> list[str]:
        return [str(pod["metadata"]["name"]) for pod in self.plan.pods]


class Ledger:
    """Belongs to the engine's loop; only `plan` may be asked from any thread.

    What was begun is on the disk before `begin` returns. The rest outlives a kill at once and a loss of power soon:
    if it is lost, the cluster tells it again.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = threading.Lock()
        path = folder / "ledger.sqlite3"
        self._disk = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30.0)
        path.chmod(0o600)
        for statement in ("pragma journal_mode=wal", "pragma synchronous=normal", _SCHEMA, _LIVE):
            self._disk.execute(statement)
        rows = self._disk.execute(f"select {_COLUMNS} from attempts where not forgotten").fetchall()  # noqa: S608
        self.records: dict[Key, Record] = {record.key: record for record in map(self._record, rows)}

    def folder(self, key: Key) -> Path:
        return self._folder / str(key.job) / str(key.attempt)

    def plan(self, key: Key) -> Plan | None:
        """Of any attempt that ever was, a forgotten one too. From any thread."""
        if record := self.records.get(key):
            return record.plan
        with self._lock:
            found = self._disk.execute(
                "select plan from attempts where job = ? and attempt = ?", (key.job, key.attempt)
            )
            row = found.fetchone()
        return _plan(row[0]) if row else None

    def begin(self, records: Iterable[Record]) -> None:
        """Write down what is to be made, before any of it is."""
        new = list(records)
        if not new:
            return
        with self._lock:
            self._disk.execute("pragma synchronous=full")
            try:
                self._disk.execute("begin immediate")
                self._disk.executemany(
                    "insert or replace into attempts (job, attempt, plan, nodes, grace) values (?, ?, ?, ?, ?)",
                    map(_row, new),
                )
                self._disk.execute("commit")
            except BaseException:
                self._disk.rollback()
                raise
            finally:
                self._disk.execute("pragma synchronous=normal")
        self.records.update((record.key, record) for record in new)

    def created(self, record: Record) -> None:
        self._set(record.key, "created", 1)
        record.created, record.held_up = True, ""

    def cause(self, record: Record, cause: Observation) -> None:
        """The first cause stays."""
        if record.cause is None and record.end is None:
            self._set(record.key, "cause", json.dumps(cause.__dict__))
            record.cause = cause

    def end(self, record: Record, end: Observation) -> None:
        if record.end is None:
            self._set(record.key, "ended", json.dumps(end.__dict__))
            record.end = end

    def forget(self, key: Key) -> None:
        """The logs stay."""
        self._set(key, "forgotten", 1)
        self.records.pop(key, None)

    def close(self) -> None:
        with self._lock:
            self._disk.close()

    def _set(self, key: Key, column: str, value: object) -> None:
        with self._lock:
            self._disk.execute(
                f"update attempts set {column} = ? where job = ? and attempt = ?",  # noqa: S608 - a name of ours
                (value, key.job, key.attempt),
            )

    def _record(self, row: tuple[Any, ...]) -> Record:
        job, attempt, plan, nodes, grace, created, cause, ended = row
        key = Key(job, attempt)
        return Record(
            key,
            self.folder(key),
            _plan(plan),
            tuple(json.loads(nodes)),
            grace,
            created=bool(created),
            cause=_observation(cause),
            end=_observation(ended),
        )


def _row(record: Record) -> tuple[object, ...]:
    plan, nodes = json.dumps(record.plan.__dict__), json.dumps(record.nodes)
    return (record.key.job, record.key.attempt, plan, nodes, record.grace)


def _plan(text: str) -> Plan:
    content = json.loads(text)
    return Plan(**{**content, "pods": tuple(content["pods"])})


def _observation(text: str | None) -> Observation | None:
    if text is None:
        return None
    found = json.loads(text)
    return Observation(**{**found, "state": JobState(found["state"])})
