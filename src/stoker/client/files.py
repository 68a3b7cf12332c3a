"""Uploaded files through the client."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from stoker.client import package
from stoker.client.connection import Connection
from stoker.errors import BadInput

_PATH = "/api/v1/files"


@dataclass(frozen=True)
class UploadedFile:
    id: str
    filename: str
    bytes: int
    purpose: str
    created_at: int
    sha256: str = ""


@dataclass(frozen=True)
class _Listing:
    data: tuple[UploadedFile, ...]


class Files:
    """``client.files``"""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def upload(self, path: str | Path, *, purpose: str = "fine-tune") -> UploadedFile:
        """Upload the file at `path`; its id can be given wherever data is asked for."""
        path = Path(path)
        if not path.is_file():
            raise BadInput(f"{path} is no file; give a file, or run stoker ship with the folder", param="path")
        with path.open("rb") as stream:
            return self._send(path.name, stream, purpose)

    def send(self, folder: str | Path) -> UploadedFile:
        """Pack the working tree at `folder` and upload it, unless the same was uploaded before.

        Its id goes into `JobSpec.package`: the job begins in a copy of the tree.
        """
        place = Path(folder).resolve()
        with tempfile.TemporaryFile() as packed:
            digest = package.pack(place, packed)
            known = self._connection.get(_Listing, _PATH, purpose=package.PURPOSE).data
            if found := next((file for file in known if file.sha256 == digest), None):
                return found
            packed.seek(0)
            return self._send(f"{place.name or 'root'}.tar.gz", packed, package.PURPOSE)

    def _send(self, name: str, stream: BinaryIO, purpose: str) -> UploadedFile:
        response = self._connection.send("POST", _PATH, files={"file": (name, stream)}, data={"purpose": purpose})
        return self.get(str(response.json()["id"]))

    def get(self, file_id: str) -> UploadedFile:
        return self._connection.get(UploadedFile, f"{_PATH}/{file_id}")

    def list(self) -> Sequence[UploadedFile]:
        """The newest first."""
        return self._connection.get(_Listing, _PATH).data

    def delete(self, file_id: str) -> None:
        self._connection.delete(f"{_PATH}/{file_id}")

    def download(self, file_id: str, path: str | Path) -> None:
        """Write the file's content to `path`."""
        with (
            self._connection.stream("GET", f"{_PATH}/{file_id}/content") as response,
            Path(path).open("wb") as file,
        ):
            file.writelines(response.iter_raw())
