"""Daemons of a lab: started without an init system, waited for, ended by their process id and never by name."""

from __future__ import annotations

import os
import pwd
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

PORTS = range(10_000, 20_000)  # below the kernel's own choice, and not where jobs meet
_HANDOVER = 0.05


class Daemons:
    """Processes by name. What they say goes to ``<folder>/<name>.out``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(
        self, name: str, argv: Sequence[str], *, env: Mapping[str, str] | None = None, user: str | None = None
    ) -> None:
        with (self._folder / f"{name}.out").open("ab") as out:
            self._running[name] = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=env,
                start_new_session=True,
                **as_user(user),
            )

    def alive(self, name: str) -> bool:
        return name in self._running and self._running[name].poll() is None

    def pid(self, name: str) -> int:
        return self._running[name].pid

    def names(self) -> list[str]:
        return list(self._running)

    def stop(self, name: str, sign: int = signal.SIGTERM, patience: float = 10) -> None:
        """End it and wait for it; after `patience` seconds it is killed."""
        process = self._running.pop(name)
        process.send_signal(sign)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def stop_all(self) -> None:
        for name in reversed(self.names()):
            self.stop(name)

    def said(self, name: str) -> str:
        return (self._folder / f"{name}.out").read_text(errors="replace")[-2000:]


def as_user(name: str | None) -> dict[str, Any]:
    """What makes subprocess start a program as that user, in no other group than the user's own."""
    return {"user": name, "group": pwd.getpwnam(name).pw_gid, "extra_groups": []} if name else {}


def until(true: Callable[[], bool], what: str, patience: float = 60) -> None:
    """Wait for it; an AssertionError names `what` did not come."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if true():
            return
        time.sleep(_HANDOVER)
    raise AssertionError(f"not within {patience:.0f} s: {what}")


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now, in a row."""
    first = random.randrange(PORTS.start, PORTS.stop - count)  # noqa: S311 (no secret: spreads labs apart)
    found: list[int] = []
    for port in (*range(first, PORTS.stop), *range(PORTS.start, first)):
        if _free(port):
            found.append(port)
        if len(found) == count:
            return found
    raise AssertionError(f"{count} free ports were not found")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def listening(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def marked(*marks: str) -> list[int]:
    """Processes whose environment, as they began, holds all `marks`: what a lab's daemons left behind."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                environment = (entry / "environ").read_bytes()
            except OSError:
                continue
            if all(mark.encode() in environment for mark in marks):
                found.append(int(entry.name))
    return found
