"""Registered models over HTTP: versions, comparison, promotion and its journal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import Field

from stoker.api.auth import Caller, Platform
from stoker.api.fields import Name
from stoker.api.wire import Json
from stoker.errors import BadInput
from stoker.model import Comparison, ModelSummary, ModelVersion, Promotion
from stoker.page import Page
from stoker.typed import strict

router = APIRouter(prefix="/models", tags=["models"])


@strict
@dataclass(frozen=True)
class Promote:
    """Which version should be the `alias`; the champion is what answers at the endpoint."""

    version: Annotated[int, Field(ge=1, le=2**31 - 1)]
    alias: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,63}$")] = "champion"


@router.get("", response_model=Page[ModelSummary])
def find(app: Platform, who: Caller) -> Response:
    return Json(Page(tuple(app.models.models(who))))


@router.get("/{name}", response_model=Page[ModelVersion])
def versions(name: Name, app: Platform, who: Caller) -> Response:
    """The model's versions, the newest first."""
    return Json(Page(tuple(app.models.versions(name, who))))


@router.get("/{name}/compare", response_model=Comparison)
def compare(
    name: Name,
    app: Platform,
    who: Caller,
    versions: Annotated[str, Query(description="numbers with commas between: 1,2", max_length=200)],
) -> Response:
    return Json(app.models.compare(name, _numbers(versions), who))


@router.post("/{name}/promote", response_model=Promotion)
def promote(name: Name, body: Promote, app: Platform, who: Caller) -> Response:
    return Json(app.models.promote(name, body.version, who, alias=body.alias))


@router.post("/{name}/rollback", response_model=Promotion)
def rollback(name: Name, app: Platform, who: Caller) -> Response:
    """Back to the champion before the present one."""
    return Json(app.models.rollback(name, who))


@router.get("/{name}/journal", response_model=Page[Promotion])
def journal(name: Name, app: Platform, who: Caller) -> Response:
    """Who moved which alias when, the newest first."""
    return Json(Page(tuple(app.models.journal(name, who))))


def _numbers(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        raise BadInput(
            f'versions: "{text}" was given; numbers with commas between are needed: 1,2', param="versions"
        )
    return [int(part) for part in parts]
