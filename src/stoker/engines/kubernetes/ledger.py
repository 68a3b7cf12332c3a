"""Ledger: what this platform must not forget of the attempts it gave to a cluster.

One folder an attempt (``<job>/<attempt>``) with ``record.json``, the copied logs, and marks; ``.live`` holds an
empty file for each attempt that was handed over and not forgotten, so that a restart reads only those. Written
here before a call to the API server, it makes the call repeatable after a kill.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stoker.engine import Key, Observation
from stoker.engines.kubernetes.pods import Plan
from stoker.job import JobState

Object = dict[str, Any]


@dataclass
class Record:
    """One attempt. `created`, `cause` and `end` are set once, in this order; `cause` may be missing."""

    key: Key
    folder: Path  # on the platform's machine
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
    """Not thread-safe: it belongs to the engine's loop."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._live = folder / ".live"
        self._live.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.records: dict[Key, Record] = {}
        for entry in sorted(os.scandir(self._live), key=lambda entry: entry.name):
            job, _, attempt = entry.name.partition(".")
            self._read(Key(int(job), int(attempt)))

    def folder(self, key: Key) -> Path:
        return self._folder / str(key.job) / str(key.attempt)

    def plan(self, key: Key) -> Plan | None:
        """Of any attempt that ever was, a forgotten one too. From any thread."""
        record = self.records.get(key)
        return record.plan if record else _plan(self.folder(key))

    def begin(self, key: Key, plan: Plan, nodes: tuple[str, ...], grace: float) -> Record:
        """Write down what is to be made, before any of it is."""
        record = Record(key, self.folder(key), plan, nodes, grace)
        record.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        content = {"plan": plan.__dict__, "nodes": nodes, "grace": grace}
        _write(record.folder / "record.json", content)
        (self._live / _label(key)).touch(mode=0o600)
        self.records[key] = record
        return record

    def created(self, record: Record) -> None:
        (record.folder / "created").touch(mode=0o600)
        record.created, record.held_up = True, ""

    def cause(self, record: Record, cause: Observation) -> None:
        """The first cause stays."""
        if record.cause is None and record.end is None:
            _write(record.folder / "cause.json", cause.__dict__)
            record.cause = cause

    def end(self, record: Record, end: Observation) -> None:
        if record.end is None:
            _write(record.folder / "end.json", end.__dict__)
            record.end = end

    def forget(self, key: Key) -> None:
        """The logs stay."""
        (self._live / _label(key)).unlink(missing_ok=True)
        self.records.pop(key, None)

    def _read(self, key: Key) -> None:
        folder = self.folder(key)
        content, plan = _json(folder / "record.json"), _plan(folder)
        if plan is None:
            self.forget(key)
            return
        self.records[key] = Record(
            key,
            folder,
            plan,
            tuple(content["nodes"]),
            content["grace"],
            created=(folder / "created").exists(),
            cause=_observation(folder / "cause.json"),
            end=_observation(folder / "end.json"),
        )


def _plan(folder: Path) -> Plan | None:
    content = _json(folder / "record.json")
    return Plan(**{**content["plan"], "pods": tuple(content["plan"]["pods"])}) if content else None


def _label(key: Key) -> str:
    return f"{key.job}.{key.attempt}"


def _observation(path: Path) -> Observation | None:
    found = _json(path)
    return Observation(**{**found, "state": JobState(found["state"])}) if found else None


def _json(path: Path) -> Object:
    with contextlib.suppress(FileNotFoundError):
        found: Object = json.loads(path.read_text())
        return found
    return {}


def _write(path: Path, content: Mapping[str, Any]) -> None:
    """Whole or not at all."""
    partial = path.with_name(f"{path.name}.part-{secrets.token_hex(4)}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(json.dumps(content))  # json.dump writes piece by piece, in Python
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
