"""The server: every route of the platform in one ASGI application, with the gateway's paths in front."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send

from stoker import __version__
from stoker.account import Account, Role
from stoker.api import (
    changes,
    docs,
    endpoints,
    engines,
    errors,
    info,
    jobs,
    keys,
    models,
    nodes,
    notebooks,
    policy,
    queues,
    shipments,
)
from stoker.api.auth import account_of
from stoker.api.changes import Pulse
from stoker.api.door import Door
from stoker.api.gateway import PATHS, Gateway
from stoker.api.notebook_proxy import NotebookProxy
from stoker.api.openai import chat, files, fine_tuning
from stoker.api.openai import models as openai_models
from stoker.app import App


@dataclass(frozen=True)
class ServerSettings:
    """How the server meets its callers."""

    hosts: Collection[str] = ()  # names it answers to; any when empty
    body_limit: int = 32 << 20  # bytes of one request
    upload_limit: int = 4 << 30  # bytes of one uploaded file
    notebooks_port: int | None = None  # None: the one after the server's own
    notebooks_url: str = ""  # where browsers find notebooks; empty: at that port of this host


class Server(FastAPI):
    """The application. Completions go straight to the gateway: their path through the framework would cost more
    than all the gateway does."""

    gateway: Gateway
    notebooks: NotebookProxy
    notebooks_port: int

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan" and (scope.get("server") or (None, None))[1] == self.notebooks_port:
            await self.notebooks(scope, receive, send)  # another origin: nothing of the rest is there
        elif scope["type"] == "http" and scope["path"] in PATHS:
            await self.gateway(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            document = super().openapi()
            document["components"]["schemas"]["Error"] = errors.ERROR_SCHEMA
            document["paths"] |= chat.DOCUMENTED_PATHS
        return document if self.openapi_schema is None else self.openapi_schema


def create_app(app: App, settings: ServerSettings | None = None) -> Server:
    """The server of `app`, whose loops somebody else starts and stops."""
    settings = settings or ServerSettings()
    server = Server(
        title="Stoker",
        version=__version__,
        summary="One platform for an enterprise's AI accelerators",
        lifespan=_lifespan,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=_operation_name,
        responses=errors.ERRORS,
    )
    server.state.platform = app
    server.gateway = server.state.gateway = Gateway(
        lambda scope: account_of(app, scope),
        lambda model, who: app.endpoints.route(model, _tenant(who)),
        patience=app.endpoints.patience,
    )
    server.notebooks = server.state.notebooks = NotebookProxy(app.notebooks, app.accounts.authenticate)
    server.notebooks_port = settings.notebooks_port or -1
    errors.install(server)
    app.replicas.observe(server.gateway.in_flight)
    app.lending.observe(server.gateway.in_flight, server.gateway.meter.counted, server.gateway.held)
    server.add_middleware(
        Door,
        admit=lambda scope: account_of(app, scope),
        hosts=settings.hosts,
        body_limit=settings.body_limit,
        upload_limit=settings.upload_limit,
    )
    for router in (
        info, changes, jobs, nodes, engines, queues, policy, notebooks, shipments, models, endpoints, keys, files,
    ):  # fmt: skip
        server.include_router(router.router, prefix="/api/v1")
    for router in (files, fine_tuning, openai_models):
        server.include_router(router.router, prefix="/v1")
    server.include_router(info.metrics)
    server.include_router(docs.router)
    _mount_console(server, app)
    return server


@asynccontextmanager
async def _lifespan(server: FastAPI) -> AsyncIterator[None]:
    gateway: Gateway = server.state.gateway
    notebooks: NotebookProxy = server.state.notebooks
    await gateway.open()
    await notebooks.open()
    server.state.pulse = Pulse(server.state.platform.jobs.wait_change)
    watching = asyncio.create_task(server.state.pulse.watch())
    try:
        yield
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        await notebooks.close()
        await gateway.close()


def _tenant(who: Account) -> str | None:
    return None if who.role is Role.ADMIN else who.tenant


def _operation_name(route: APIRoute) -> str:
    """Unique, because OpenAI's paths and ours share some functions."""
    place = "openai" if route.path.startswith("/v1/") else "stoker"
    return f"{place}_{route.tags[0] if route.tags else 'server'}_{route.name}"


def _mount_console(server: FastAPI, app: App) -> None:
    """The console is a part of its own; a server without it still answers."""
    if find_spec("stoker.console.pages") is None:
        return
    from stoker.console import pages

    router: APIRouter = pages.router(app)
    server.include_router(router)
