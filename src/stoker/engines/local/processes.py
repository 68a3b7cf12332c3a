"""Processes told apart for good, so that a signal never reaches a stranger that was given a used pid."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from stoker.typed import read


@dataclass(frozen=True)
class Identity:
    """A pid is used again; together with its start and the boot it is not."""

    pid: int
    started: int  # clock ticks since boot
    boot: str

    @property
    def alive(self) -> bool:
        return self.boot == boot_id() and _started(self.pid) == self.started

    def open(self) -> int | None:
        """A pidfd, readable when the process has ended; None when it already has."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return None
        if self.alive:  # asked after the opening: the descriptor cannot be of a successor
            return descriptor
        os.close(descriptor)
        return None

    def send(self, number: signal.Signals) -> None:
        descriptor = self.open()
        if descriptor is None:
            return
        try:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, number)
        finally:
            os.close(descriptor)


def read_identity(data: object) -> Identity:
    return read(Identity, data, what="identity of a process")


@cache
def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def kill_marked(mark: bytes) -> int:
    """SIGKILL every process whose environment holds the entry `mark` (``NAME=value``); returns how many there were.

    This finds what a killed supervisor left behind, in whatever session it hides.
    """
    killed = 0
    pause = 0.002
    while pids := [pid for pid in _all() if mark in _environment(pid).split(b"\0")]:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        killed += len(pids)
        time.sleep(pause)  # much memory takes its time to be given back
        pause = min(pause * 2, 1.0)
    return killed


def _all() -> list[int]:
    return [int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit()]


def _environment(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()  # empty for a zombie
    except OSError:
        return b""


def _started(pid: int) -> int | None:
    """When the living process `pid` started, in clock ticks since boot; None for none and for a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])
