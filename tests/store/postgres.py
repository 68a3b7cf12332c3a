"""A real PostgreSQL for the tests: in a folder of its own, on a socket file, gone afterwards."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PLACES = ("/usr/local/bin", *sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True))


def missing() -> str:
    """What keeps the tests from a PostgreSQL, in one line; empty when nothing does."""
    if importlib.util.find_spec("psycopg") is None:
        return "psycopg is not installed: pip install 'stoker[postgres]'"
    if not _program("initdb"):
        return "PostgreSQL is not installed: apt-get install postgresql"
    return ""


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """The SQLAlchemy URL of a fresh server whose files lie in `folder`."""
    folder.mkdir(mode=0o755)
    prefix: list[str] = []
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        shutil.chown(folder, "nobody")
        prefix = ["setpriv", "--reuid=nobody", "--clear-groups"]
    data = str(folder / "data")
    options = f"-c listen_addresses='' -k {folder} -c fsync=off"
    _run(*prefix, _program("initdb"), "-D", data, "-A", "trust", "-U", "postgres")
    _run(*prefix, _program("pg_ctl"), "-D", data, "-o", options, "-l", str(folder / "log"), "-w", "start")
    try:
        yield f"postgresql+psycopg://postgres@/postgres?host={folder}"
    finally:
        _run(*prefix, _program("pg_ctl"), "-D", data, "-m", "immediate", "-w", "stop")


def _program(name: str) -> str:
    return shutil.which(name, path=os.pathsep.join((*_PLACES, os.environ.get("PATH", "")))) or ""


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
