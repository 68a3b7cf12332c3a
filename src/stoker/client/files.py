"""Uploaded files through the client."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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
            response = self._connection.send(
                "POST", _PATH, files={"file": (path.name, stream)}, data={"purpose": purpose}
            )
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
