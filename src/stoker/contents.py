"""Contents: which files of a path count, and one digest over their names and contents."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path


def files_of(path: Path) -> Iterator[Path]:
    """Regular files below `path` in a stable order; hidden files and what links lead to outside are left out."""
    if not path.is_dir():
        yield path
        return
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            file = Path(folder, name)
            if not name.startswith(".") and file.is_file():
                yield file


def sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def digest_of(path: Path, file_digest: Callable[[Path], str] = sha256) -> str:
    """SHA-256 over names and contents of `path`, a file (whose name does not count) or a folder."""
    total = hashlib.sha256()
    for file in files_of(path):
        name = str(file.relative_to(path)) if file != path else ""
        total.update(f"{name}\0{file_digest(file)}\n".encode(errors="surrogateescape"))
    return total.hexdigest()
