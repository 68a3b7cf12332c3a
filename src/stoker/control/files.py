"""FileDesk: uploads, for whoever owns them."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from pathlib import Path

from stoker.account import Account, Role
from stoker.clock import Clock
from stoker.control.rights import require, require_sight
from stoker.errors import BadInput, StokerError
from stoker.file import File
from stoker.store.files import FileFolder, FileStore

_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
_LONGEST_NAME = 255


class FileDesk:
    def __init__(self, store: FileStore, folder: Path, clock: Clock, *, size_limit: int) -> None:
        """`size_limit`: bytes of one file."""
        self._store = store
        self._folder = FileFolder(folder)
        self._clock = clock
        self._size_limit = size_limit
        self._folder.sweep(file.id for file in store.all())

    def create(self, pieces: Iterable[bytes], filename: str, purpose: str, who: Account) -> File:
        """Store an upload, all or nothing. Raises TooLarge, NoSpace, BadInput for an unusable name."""
        require(who, Role.USER, "upload files")
        name = _checked(filename)
        file_id = f"file-{secrets.token_hex(12)}"
        size, sha256 = self._folder.write(file_id, name, pieces, limit=self._size_limit)
        file = File(file_id, name, purpose, size, sha256, who.tenant, who.name, self._clock.now())
        try:
            self._store.add(file)
        except StokerError:
            self._folder.remove(file_id)
            raise
        return file

    def get(self, file_id: str, who: Account) -> File:
        file = self._store.get(file_id)
        require_sight(who, file.tenant, "file", file_id)
        return file

    def list(self, who: Account) -> list[File]:
        """Newest first."""
        return self._store.all(tenant="" if who.role is Role.ADMIN else who.tenant)

    def content(self, file_id: str, who: Account) -> Path:
        """Where the bytes lie, to be read only."""
        return self._folder.content(self.get(file_id, who).id)

    def path(self, file_id: str) -> Path:
        """Where the bytes lie, for the platform itself. Raises NotFound."""
        return self._folder.content(self._store.get(file_id).id)

    def delete(self, file_id: str, who: Account) -> None:
        require(who, Role.USER, "delete files")
        file = self.get(file_id, who)
        self._store.remove(file.id)
        self._folder.remove(file.id)


def _checked(filename: str) -> str:
    """The last part of what the uploader sent: a label, so nothing in it may act on screens or paths."""
    name = re.split(r"[/\\]", filename)[-1].strip()
    if not name or name in (".", "..") or len(name) > _LONGEST_NAME or _UNSAFE.search(name):
        raise BadInput(
            f"{filename[:80]!r} is no usable file name: 1 to {_LONGEST_NAME} printable characters", param="file"
        )
    return name
