"""Engines over HTTP: where jobs run, how each is, and what others run there."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from stoker.api.auth import Caller, Platform
from stoker.api.fields import Name
from stoker.api.wire import Json
from stoker.engine_config import EngineConfig, EngineStatus
from stoker.foreign import ForeignJob
from stoker.page import Page

router = APIRouter(prefix="/engines", tags=["engines"])


@router.get("", response_model=Page[EngineStatus])
def find(app: Platform, who: Caller) -> Response:
    return Json(Page(tuple(app.engines.find(who))))


@router.post("", response_model=EngineStatus, status_code=201)
def add(
    body: EngineConfig,
    app: Platform,
    who: Caller,
    check: Annotated[bool, Query(description="it must answer once before it is added")] = True,
) -> Response:
    """Add an engine for good."""
    return Json(app.engines.add(body, who, check=check), 201)


@router.get("/foreign", response_model=Page[ForeignJob])
def foreign(app: Platform, who: Caller) -> Response:
    """Jobs that others gave to the engines directly; their names and owners are told to admins alone."""
    return Json(Page(tuple(app.engines.foreign(who))))


@router.get("/{name}", response_model=EngineStatus)
def get(name: Name, app: Platform, who: Caller) -> Response:
    return Json(app.engines.get(name, who))


@router.delete("/{name}", status_code=204)
def remove(name: Name, app: Platform, who: Caller) -> None:
    """Forget an engine that holds no job of ours."""
    app.engines.remove(name, who)
