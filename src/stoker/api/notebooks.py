"""Notebooks over HTTP. They are jobs too: logs, events and telemetry are under ``/jobs``."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Request, Response

from stoker.api.auth import Caller, Platform
from stoker.api.fields import JobId, Limit
from stoker.api.wire import Json
from stoker.notebook import Link, Notebook, NotebookRequest
from stoker.page import Page

router = APIRouter(prefix="/notebooks", tags=["notebooks"])


@router.post("", response_model=Notebook, status_code=201)
def start(
    body: NotebookRequest,
    app: Platform,
    who: Caller,
    idempotency_key: Annotated[
        str, Header(max_length=200, description="sent again with the same key, no second one is started")
    ] = "",
) -> Response:
    """Start a JupyterLab. It is ready when it says so; then `/link` is the way in."""
    return Json(app.notebooks.start(body, who, idempotency=idempotency_key), 201)


@router.get("", response_model=Page[Notebook])
def find(app: Platform, who: Caller, ended: bool = False, limit: Limit = 100) -> Response:
    """Notebooks, the newest first; those that have ended only when asked for."""
    return Json(Page(tuple(app.notebooks.find(who, ended=ended, limit=limit))))


@router.get("/{job_id}", response_model=Notebook)
def get(job_id: JobId, app: Platform, who: Caller) -> Response:
    return Json(app.notebooks.get(job_id, who))


@router.get("/{job_id}/link", response_model=Link)
def link(job_id: JobId, request: Request, app: Platform, who: Caller) -> Response:
    """The way in, for who started it. Whoever has the URL has the notebook, until it ends."""
    scheme = request.headers.get("x-forwarded-proto", request.url.scheme)
    return Json(app.notebooks.link(job_id, who, asked_at=request.headers.get("host", ""), scheme=scheme))


@router.post("/{job_id}/stop", response_model=Notebook)
def stop(job_id: JobId, app: Platform, who: Caller) -> Response:
    """End it; its files stay where it ran."""
    return Json(app.notebooks.stop(job_id, who))
