"""Cache: what this node has fetched from the depot, each thing once, however many jobs and ranks ask for it.

``STOKER_CACHE`` names the folder, else ``~/.cache/stoker``; ``STOKER_CACHE_SIZE`` is what it may hold (200G). What
was not used for longest makes room; what a living process uses stays.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from stoker import probe
from stoker.depot import Depot
from stoker.units import parse_bytes

_SIZE = "200G"
_in_use: dict[str, int] = {}  # entry -> the descriptor whose shared lock says so, as long as this process lives


def folder(name: str) -> Path:
    """A folder of the cache: ``artifacts``, or for work of this node ``work`` and ``scratch``."""
    given, home = os.environ.get("STOKER_CACHE"), os.environ.get("HOME")
    base = Path(given or (f"{home}/.cache/stoker" if home else f"{tempfile.gettempdir()}/stoker-{os.getuid()}"))
    made = base / name
    made.mkdir(parents=True, exist_ok=True, mode=0o700)
    return made


def name_of(location: str) -> str:
    """A file name for a location, readable where it can be."""
    tail = "".join(char if char.isalnum() else "-" for char in location.rstrip("/").rpartition("/")[2])[:40]
    return f"{tail}-{hashlib.sha256(location.encode()).hexdigest()[:16]}"


def bring(depot: Depot, location: str) -> Path:
    """The whole folder at `location`, here; it stays as long as this process lives."""
    entry = folder("artifacts") / name_of(location)
    if entry.name not in _in_use:
        _in_use[entry.name] = _hold(depot, location, entry)
    return entry


def keep(made: Path, location: str) -> None:
    """Take in what was made on this node and is in the depot now: the next stage may run here."""
    entry = folder("artifacts") / name_of(location)
    if any(path.is_symlink() for path in made.rglob("*")):  # of somebody's files, which may change
        shutil.rmtree(made)
        return
    with _locked(entry, fcntl.LOCK_EX):
        if entry.exists():
            shutil.rmtree(made)
        else:
            made.rename(entry)


def _hold(depot: Depot, location: str, entry: Path) -> int:
    """A descriptor with a shared lock on `entry`, which is there."""
    lock = os.open(_lock_of(entry), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_SH)  # waits for who fetches it
    if not entry.exists():
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not entry.exists():
            probe.phase("fetch", location)
            _make_room(entry.parent)
            depot.fetch(location, entry)
        fcntl.flock(lock, fcntl.LOCK_SH)
    os.utime(entry)
    return lock


def _make_room(place: Path) -> None:
    limit = parse_bytes(os.environ.get("STOKER_CACHE_SIZE") or _SIZE)
    entries = [path for path in place.iterdir() if path.is_dir()]
    sizes = {entry: _size(entry) for entry in entries}
    for entry in sorted(entries, key=_last_used):
        if sum(sizes.values()) <= limit:
            return
        with suppress(BlockingIOError), _locked(entry, fcntl.LOCK_EX | fcntl.LOCK_NB):
            shutil.rmtree(entry, ignore_errors=True)
            del sizes[entry]


# Other jobs of the node fetch and make room meanwhile: what was listed may be gone, or have its final name.


def _last_used(entry: Path) -> float:
    try:
        return entry.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _size(entry: Path) -> int:
    size = 0
    for folder, _, names in os.walk(entry):
        for name in names:
            with suppress(FileNotFoundError):
                size += Path(folder, name).stat().st_size
    return size


def _lock_of(entry: Path) -> Path:
    return entry.with_name(f".{entry.name.removeprefix('.').removesuffix('.part')}.lock")


@contextmanager
def _locked(entry: Path, how: int) -> Iterator[None]:
    lock = os.open(_lock_of(entry), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, how)
        yield
    finally:
        os.close(lock)
