"""Artifacts: finished stage outputs by content address, and digests of what users bring.

A folder below `root` counts as finished when it holds ``result.json``; recipes move it there in one rename.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from threading import Lock
from typing import Any

from stoker.errors import BadInput, NotFound

RESULT = "result.json"
_REMEMBERED = 1000  # results kept in memory
_REMEMBERED_FILES = 1_000_000  # digests kept in memory
_Stamp = tuple[str, int, int, int]


class Artifacts:
    """The folder of finished outputs, and a digest of any path that is computed once per content."""

    def __init__(self, root: Path, scratch: Path) -> None:
        self._root = root
        self._scratch = scratch
        self._digests: dict[_Stamp, str] = {}
        self._results: dict[str, Mapping[str, Any]] = {}
        self._lock = Lock()

    def path(self, key: str) -> Path:
        return self._root / key

    def scratch(self, key: str) -> Path:
        """What outlives a killed attempt at `key`."""
        return self._scratch / key

    def result(self, key: str) -> Mapping[str, Any] | None:
        """The ``result.json`` of a finished artifact, None when it is not finished."""
        file = self._root / key / RESULT
        if key in self._results and file.exists():  # it never changes, but may be removed to make room
            return self._results[key]
        try:
            found: Mapping[str, Any] = json.loads(file.read_text())
        except FileNotFoundError:
            return None
        if len(self._results) >= _REMEMBERED:
            self._results.clear()
        self._results[key] = found
        return found

    def finished(self, keys: Iterable[str]) -> dict[str, Mapping[str, Any]]:
        return {key: result for key in keys if key and (result := self.result(key)) is not None}

    def digest(self, path: Path) -> str:
        """SHA-256 over names and contents of `path`, a file or a folder; raises NotFound, BadInput.

        Reads everything once; a file is read again only when its size, time or inode changed.
        """
        if not path.exists():
            raise NotFound(f"there is nothing at {path}")
        total = hashlib.sha256()
        for file in _files(path):
            name = str(file.relative_to(path)) if file != path else ""
            total.update(f"{name}\0{self._file_digest(file)}\n".encode(errors="surrogateescape"))
        return total.hexdigest()

    def _file_digest(self, file: Path) -> str:
        try:
            status = file.stat()
            stamp = (str(file), status.st_size, status.st_mtime_ns, status.st_ino)
            with self._lock:
                known = self._digests.get(stamp)
            if known is None:
                with file.open("rb") as content:
                    known = hashlib.file_digest(content, "sha256").hexdigest()
                with self._lock:
                    if len(self._digests) >= _REMEMBERED_FILES:
                        self._digests.clear()
                    self._digests[stamp] = known
        except OSError as error:
            raise BadInput(f"cannot read {file}: {error.strerror}") from None
        return known


def _files(path: Path) -> Iterator[Path]:
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
