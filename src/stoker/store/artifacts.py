"""Artifacts: finished stage outputs by content address, and digests of what users bring.

They lie below one root, a folder or the URL of a depot: ``artifacts/`` holds what stages made, ``sources/`` what of
the user's was published for nodes that cannot see it, ``scratch/`` what outlives a killed attempt. A folder counts
as finished when it holds ``result.json``; recipes move it there in one rename.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any

from stoker.contents import digest_of, sha256
from stoker.depot import RESULT, Depot, is_remote
from stoker.errors import BadInput, NotFound

_REMEMBERED = 1000  # results kept in memory
_REMEMBERED_FILES = 1_000_000  # digests kept in memory
_Stamp = tuple[str, int, int, int]


class Artifacts:
    """What is finished, where it lies, and a digest of any path that is computed once per content."""

    def __init__(self, root: str, depot: Depot, fetched: Path) -> None:
        """`root` is a folder or URL; `fetched` a folder of this machine for what people look at of a remote one."""
        self.root = root.rstrip("/")
        self.remote = is_remote(root)
        self._depot = depot
        self._fetched = fetched
        self._digests: dict[_Stamp, str] = {}
        self._results: dict[str, Mapping[str, Any]] = {}
        self._lock = Lock()

    def location(self, key: str) -> str:
        """The folder or URL of what a stage made."""
        return f"{self.root}/artifacts/{key}"

    def source(self, digest: str) -> str:
        """Where something of the user's with this digest is published."""
        return f"{self.root}/sources/{digest[:32]}"

    def scratch(self, key: str) -> str:
        """What outlives a killed attempt at `key`."""
        return f"{self.root}/scratch/{key}"

    def here(self, key: str) -> Path:
        """A finished artifact as a folder of this machine; a remote one is fetched. Raises Away, Broken."""
        if not self.remote:
            return Path(self.location(key))
        folder = self._fetched / key
        if not folder.exists():
            self._fetched.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._depot.fetch(self.location(key), folder)
        return folder

    def result(self, key: str) -> Mapping[str, Any] | None:
        """The ``result.json`` of a finished artifact, None when it is not finished. Raises Away."""
        return self._result(self.location(key))

    def published(self, digest: str) -> bool:
        return self._result(self.source(digest)) is not None

    def finished(self, keys: Iterable[str]) -> dict[str, Mapping[str, Any]]:
        return {key: result for key in keys if key and (result := self.result(key)) is not None}

    def _result(self, location: str) -> Mapping[str, Any] | None:
        if location in self._results and (self.remote or Path(location, RESULT).exists()):
            return self._results[location]  # it never changes, but a folder may be removed to make room
        found = self._depot.result(location) if self.remote else _read(Path(location, RESULT))
        if found is not None:
            if len(self._results) >= _REMEMBERED:
                self._results.clear()
            self._results[location] = found
        return found

    def digest(self, path: Path) -> str:
        """SHA-256 over names and contents of `path`, a file or a folder; raises NotFound, BadInput.

        Reads everything once; a file is read again only when its size, time or inode changed.
        """
        if not path.exists():
            raise NotFound(f"there is nothing at {path}")
        return digest_of(path, self._file_digest)

    def _file_digest(self, file: Path) -> str:
        try:
            status = file.stat()
            stamp = (str(file), status.st_size, status.st_mtime_ns, status.st_ino)
            with self._lock:
                known = self._digests.get(stamp)
            if known is None:
                known = sha256(file)
                with self._lock:
                    if len(self._digests) >= _REMEMBERED_FILES:
                        self._digests.clear()
                    self._digests[stamp] = known
        except OSError as error:
            raise BadInput(f"cannot read {file}: {error.strerror}") from None
        return known


def _read(file: Path) -> Mapping[str, Any] | None:
    for folder in (None, file.parent.parent):
        if folder is not None:  # NFS remembers for a while that something is not there, until its folder is opened
            with suppress(OSError):
                os.close(os.open(folder, os.O_RDONLY | os.O_DIRECTORY))
        with suppress(FileNotFoundError):
            found: Mapping[str, Any] = json.loads(file.read_text())
            return found
    return None
