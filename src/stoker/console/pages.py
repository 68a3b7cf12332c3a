"""The console's router: every page, its assets and its stream of changes, to be mounted at ``/``."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from stoker.clock import Clock, SystemClock
from stoker.console import endpoints, jobs, keys, models, overview, render, session, shipments
from stoker.console.desks import Desks
from stoker.console.live import Changes
from stoker.console.session import Console, PageRoute, Viewer
from stoker.console.speed import Speeds
from stoker.errors import NotFound


def router(app: Desks, clock: Clock | None = None) -> APIRouter:
    """All of the console over the desks of `app`."""
    clock = clock or SystemClock()
    console = Console(app, clock, Changes(app.jobs.wait_change), Speeds(clock))

    async def attach(request: Request) -> None:
        request.state.stoker_console = console

    root = APIRouter(dependencies=[Depends(attach)], include_in_schema=False)
    for part in (session, _shared, overview, jobs, shipments, models, endpoints, keys):
        root.include_router(part if isinstance(part, APIRouter) else part.router)
    return root


_shared = APIRouter(route_class=PageRoute)


@_shared.get("/changes")
async def changes(view: Viewer) -> Response:
    """Server-sent events: one ``change`` each time a job moved."""
    return StreamingResponse(view.console.changes.stream(), media_type="text/event-stream")


@_shared.get("/static/{version}/{name:path}")
async def static(version: str, name: str) -> Response:
    asset = render.assets().get(name)
    if asset is None:
        raise NotFound(f'no asset "{name}" in the console')
    keep = "public, max-age=31536000, immutable" if version == render.assets_version() else "no-cache"
    return Response(asset.content, media_type=asset.kind, headers={"Cache-Control": keep})
