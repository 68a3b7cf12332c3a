"""Make the home folder and hold it: one platform process per home, however it dies."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path

from stoker.errors import BadInput, HomeBusy, NoSpace
from stoker.home import Home

# A killed platform's child that was just being started holds a copy of the lock until its exec.
_LINGER_SECONDS = 2.0


class HomeLock:
    """The kernel lets go of it when the process ends, so a `kill -9` leaves nothing to clean up."""

    def __init__(self, home: Home) -> None:
        """Makes the home when it is missing; raises HomeBusy when another process holds it."""
        make_home(home)
        self._path = home.lock
        self._descriptor = os.open(home.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        until = time.monotonic() + _LINGER_SECONDS
        while not _locked(self._descriptor):
            if time.monotonic() > until or _alive(holder(home)):
                os.close(self._descriptor)
                raise HomeBusy(_held_by(home))
            time.sleep(0.01)
        self.tell(address="")

    def tell(self, *, address: str) -> None:
        """Write who holds the home, for the message that the next one gets. `address`: a URL, or empty."""
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "address": address}
        with contextlib.suppress(OSError):  # a full disk; the lock itself needs no room
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, json.dumps(holder).encode(), 0)

    def release(self) -> None:
        os.close(self._descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _alive(told: Mapping[str, object]) -> bool:
    """Whether the holder that was told runs, or may run: on another host nobody can say."""
    pid = told.get("pid")
    if told.get("host") != socket.gethostname() or not isinstance(pid, int):
        return True
    return Path(f"/proc/{pid}").exists()


def make_home(home: Home) -> None:
    """The folders of a home, readable by their owner alone."""
    try:
        home.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        for folder in (home.jobs, home.artifacts, home.scratch, home.files):
            folder.mkdir(exist_ok=True, mode=0o700)
    except (FileExistsError, NotADirectoryError):
        raise BadInput(f"{home.path} is not a folder; give another --home") from None
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise NoSpace(f"no space left to make {home.path}; free some or give another --home") from None
        raise BadInput(f"cannot make {home.path}: {error.strerror}; give another --home") from None


def holder(home: Home) -> dict[str, object]:
    """What the holder of the home told of itself: pid, host, address; empty when nothing can be read."""
    try:
        told = json.loads(Path(home.lock).read_text())
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def _held_by(home: Home) -> str:
    told = holder(home)
    address = f", {told['address']}" if told.get("address") else ""
    return (
        f"{home.path} is held by process {told.get('pid', '?')} on {told.get('host', '?')}{address};"
        " stop it or use another --home"
    )
