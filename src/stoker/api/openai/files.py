"""Files: uploaded once, named by their id wherever data is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, BinaryIO, Literal

from fastapi import APIRouter, Form, Query, UploadFile
from fastapi.responses import FileResponse, Response

from stoker.api.auth import Caller, Platform
from stoker.api.fields import Name
from stoker.api.openai.pages import Listing, after
from stoker.api.wire import Json
from stoker.file import File

_PIECE = 1 << 20  # bytes

router = APIRouter(prefix="/files", tags=["files"])

Purpose = Annotated[str, Form(min_length=1, max_length=64, pattern=r"^[a-z][a-z0-9_-]*$")]


@dataclass(frozen=True)
class FileObject:
    """A file in OpenAI's form, with its digest."""

    id: str
    bytes: int
    created_at: int
    filename: str
    purpose: str
    sha256: str
    object: Literal["file"] = "file"
    status: Literal["processed"] = "processed"


@dataclass(frozen=True)
class Deleted:
    id: str
    object: Literal["file", "model"] = "file"
    deleted: bool = True


@router.post("", response_model=FileObject)
def upload(file: UploadFile, purpose: Purpose, app: Platform, who: Caller) -> Response:
    """Upload a file: JSONL, Parquet, CSV, text, or an archive of such."""
    made = app.files.create(_pieces(file.file), file.filename or "file", purpose, who)
    return Json(_shown(made))


@router.get("", response_model=Listing[FileObject])
def find(
    app: Platform,
    who: Caller,
    purpose: Annotated[str, Query(max_length=64)] = "",
    limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
    after_: Annotated[str, Query(alias="after", max_length=100)] = "",
    order: Literal["asc", "desc"] = "desc",
) -> Response:
    files = sorted(app.files.list(who), key=lambda file: (file.created_at, file.id), reverse=order == "desc")
    objects = [_shown(file) for file in files if purpose in ("", file.purpose)]
    return Json(after(objects, after_, limit))


@router.get("/{file_id}", response_model=FileObject)
def get(file_id: Name, app: Platform, who: Caller) -> Response:
    return Json(_shown(app.files.get(file_id, who)))


@router.get("/{file_id}/content", response_class=FileResponse)
def content(file_id: Name, app: Platform, who: Caller) -> Response:
    """The file as it was uploaded."""
    file = app.files.get(file_id, who)
    path = app.files.content(file_id, who)
    return FileResponse(path, filename=file.name, media_type="application/octet-stream")


@router.delete("/{file_id}", response_model=Deleted)
def delete(file_id: Name, app: Platform, who: Caller) -> Response:
    app.files.delete(file_id, who)
    return Json(Deleted(file_id))


def _pieces(stream: BinaryIO) -> Iterator[bytes]:
    while piece := stream.read(_PIECE):
        yield piece


def _shown(file: File) -> FileObject:
    return FileObject(file.id, file.size, int(file.created_at), file.name, file.purpose, file.sha256)
