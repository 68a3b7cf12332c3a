"""Attempt: the folder of one attempt of one job, shared with its supervisor (see supervisor.py for the files)."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stoker.engine import Key, Observation
from stoker.engines.local.processes import Identity, read_identity
from stoker.job import JobState

_STREAMS = ("stdout", "stderr")


@dataclass(frozen=True)
class Attempt:
    key: Key
    folder: Path

    @property
    def probe(self) -> Path:
        return self.folder / "probe.jsonl"

    @property
    def save_mark(self) -> Path:
        """What the job touches when its work so far is safe."""
        return self.folder / ".saved"

    @property
    def mark(self) -> bytes:
        """The environment entry that only processes of this attempt have."""
        return b"STOKER_PROBE=" + os.fsencode(self.probe)

    @property
    def files(self) -> Path:
        """What the order brought along; see `stoker.engine.Order`."""
        return self.folder / "files"

    def prepare(self, order: Mapping[str, Any], script: str, files: Mapping[str, Path] | None = None) -> None:
        """Write down what to run. Safe to repeat: the last step is a rename."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if (self.folder / "order.json").exists():
            return
        if script:
            _write(self.folder / "script", script.encode(), mode=0o700)
        for name, content in (files or {}).items():
            self.files.mkdir(exist_ok=True, mode=0o700)
            _write(self.files / name, content.read_bytes())
        for stream in _STREAMS:
            target = order[stream]
            if target and target != str(self.folder / stream):
                with contextlib.suppress(FileExistsError):
                    (self.folder / stream).symlink_to(target)  # the user's own file, still found by `logs`
        _write(self.folder / "order.json", json.dumps(order).encode())

    def supervisor(self) -> Identity | None:
        """Who began this attempt; None when nobody has."""
        found = self._json("claim")
        return read_identity(found) if found else None

    def saved(self) -> float | None:
        """When the job last said that its work is safe, seconds since the epoch; None: it never did."""
        try:
            return self.save_mark.lstat().st_mtime
        except OSError:
            return None

    def running(self) -> Observation | None:
        found = self._json("running.json")
        return Observation(JobState.RUNNING, started_at=found["started_at"]) if found else None

    def ended(self) -> Observation | None:
        found = self._json("exit.json")
        return Observation(**{**found, "state": JobState(found["state"])}) if found else None

    def write_end(self, end: Observation) -> None:
        """How it ended, when its supervisor could not say."""
        _write(self.folder / "exit.json", json.dumps({**end.__dict__, "state": end.state.value}).encode())

    def remove_groups(self) -> None:
        """Remove the control groups that its supervisor would have removed."""
        for group in self._json("order.json").get("cgroups", ()):
            with contextlib.suppress(OSError):  # gone already, or something in it is just ending
                Path(group).rmdir()

    def ask_to_end(self, grace: float) -> None:
        _write(self.folder / "cancel.json", json.dumps({"grace": grace}).encode())

    def read(self, name: str, offset: int, limit: int) -> bytes:
        """Up to `limit` bytes of the file `name` from byte `offset`; empty when there is no more.

        The job may have put anything in its place: a folder, a pipe that nobody writes, an endless device. Only
        a regular file is read, and one that cannot be read is empty.
        """
        try:
            descriptor = os.open(self.folder / name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return b""
        try:
            regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
            return os.pread(descriptor, limit, offset) if regular else b""
        except OSError:  # an offset beyond what the file system can hold
            return b""
        finally:
            os.close(descriptor)

    def _json(self, name: str) -> dict[str, Any]:
        """The content of a file of the folder; empty when it is missing, half written, or the job's own by now."""
        try:
            text = (self.folder / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return {}
        try:
            found = json.loads(text) if text else {}
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


def _write(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Whole or not at all."""
    partial = path.with_name(f"{path.name}.part-{secrets.token_hex(4)}")  # two writers each finish their own
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
