"""The console's router: every page and its assets, to be mounted at ``/`` beside the API.

Scripts of the pages use two things of the API with the session's cookie: ``/api/v1/changes`` to be told of changes,
and ``/v1/chat/completions`` to chat.
"""

from __future__ import annotations

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from stoker.clock import Clock, SystemClock
from stoker.console import (
    endpoints,
    jobs,
    keys,
    models,
    moves,
    notebooks,
    overview,
    plan_memory,
    plan_purchase,
    plan_serving,
    plan_storage,
    plan_training,
    plans,
    queues,
    render,
    session,
    shipments,
)
from stoker.console.desks import Desks
from stoker.console.session import Console, PageRoute
from stoker.console.speed import Speeds
from stoker.errors import NotFound


def router(app: Desks, clock: Clock | None = None) -> APIRouter:
    """All of the console over the desks of `app`; `clock` is the system's unless told."""
    clock = clock or SystemClock()
    console = Console(app, clock, Speeds(clock))

    async def attach(request: Request) -> None:
        request.state.stoker_console = console

    root = APIRouter(dependencies=[Depends(attach)], include_in_schema=False)
    parts = (session, _shared, overview, moves, jobs, shipments, models, endpoints, notebooks, queues, keys)
    planned = (plans, plan_training, plan_serving, plan_purchase, plan_storage, plan_memory)
    for part in (*parts, *planned):
        root.include_router(part if isinstance(part, APIRouter) else part.router)
    return root


_shared = APIRouter(route_class=PageRoute)


@_shared.get("/static/{version}/{name:path}")
async def static(version: str, name: str) -> Response:
    asset = render.assets().get(name)
    if asset is None:
        raise NotFound(f'no asset "{name}" in the console')
    keep = "public, max-age=31536000, immutable" if version == render.assets_version() else "no-cache"
    return Response(asset.content, media_type=asset.kind, headers={"Cache-Control": keep})
