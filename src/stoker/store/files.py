"""Uploaded files: the rows in the database and the bytes in the home, which appear and vanish together."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sqlalchemy import Row, select

from stoker.errors import NoSpace, NotFound, TooLarge
from stoker.file import File
from stoker.store.database import Database
from stoker.store.tables import files
from stoker.typed import dump
from stoker.units import format_bytes

_ENDING = re.compile(r"^(\.[A-Za-z0-9]{1,10}){1,2}$")


class FileStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, file: File) -> None:
        with self._database.write() as connection:
            connection.execute(files.insert().values(dump(file)))

    def get(self, file_id: str) -> File:
        with self._database.read() as connection:
            row = connection.execute(select(files).where(files.c.id == file_id)).first()
        if row is None:
            raise NotFound.named("file", file_id)
        return _file(row)

    def all(self, *, tenant: str = "") -> list[File]:
        """Newest first; of one tenant, or of all."""
        statement = select(files).order_by(files.c.created_at.desc(), files.c.id)
        if tenant:
            statement = statement.where(files.c.tenant == tenant)
        with self._database.read() as connection:
            return [_file(row) for row in connection.execute(statement)]

    def remove(self, file_id: str) -> None:
        with self._database.write() as connection:
            connection.execute(files.delete().where(files.c.id == file_id))


class FileFolder:
    """The bytes: ``<id>/content.jsonl``, with the ending that tells readers the format."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, file_id: str, name: str, pieces: Iterable[bytes], *, limit: int) -> tuple[int, str]:
        """Store the bytes, all or nothing; their number and SHA-256. Raises TooLarge, NoSpace."""
        partial = self._path / f".{file_id}.part"
        digest, size = hashlib.sha256(), 0
        try:
            partial.mkdir(parents=True, mode=0o700)
            with (partial / f"content{_ending(name)}").open("wb") as content:
                for piece in pieces:
                    size += len(piece)
                    if size > limit:
                        raise TooLarge(f'"{name}" is larger than the limit of {format_bytes(limit)}; split it')
                    digest.update(piece)
                    content.write(piece)
                content.flush()
                os.fsync(content.fileno())
            partial.rename(self._path / file_id)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            raise NoSpace(f"no space left in {self._path} for the upload; free some and try again") from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return size, digest.hexdigest()

    def content(self, file_id: str) -> Path:
        """Where the bytes lie; raises NotFound when somebody removed them by hand."""
        found = next((self._path / file_id).glob("content*"), None)
        if found is None:
            raise NotFound(f"the content of {file_id} is gone from {self._path}; upload it again")
        return found

    def remove(self, file_id: str) -> None:
        shutil.rmtree(self._path / file_id, ignore_errors=True)

    def sweep(self, kept: Iterable[str]) -> None:
        """Remove what a killed upload or deletion left behind: everything but `kept`."""
        known = set(kept)
        for entry in self._path.iterdir():
            if entry.name not in known:
                shutil.rmtree(entry, ignore_errors=True)


def _ending(name: str) -> str:
    """``.jsonl`` or ``.tar.gz`` of the uploader's name; nothing that is not plainly an ending."""
    ending = "".join(Path(name).suffixes[-2:])
    if not _ENDING.match(ending):
        ending = Path(name).suffix
    return ending.lower() if _ENDING.match(ending) else ""


def _file(row: Row[Any]) -> File:
    return File(row.id, row.name, row.purpose, row.size, row.sha256, row.tenant, row.owner, row.created_at)
