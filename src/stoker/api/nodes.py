"""Nodes over HTTP: what there is, as the engines report it."""

from __future__ import annotations

from fastapi import APIRouter, Response

from stoker.api.auth import Caller, Platform
from stoker.api.wire import Json
from stoker.cluster import Node
from stoker.page import Page

router = APIRouter(prefix="/nodes", tags=["nodes"])


@router.get("", response_model=Page[Node])
def find(app: Platform, who: Caller) -> Response:
    return Json(Page(tuple(app.nodes(who))))
