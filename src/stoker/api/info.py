"""Whether the server lives, what it is, and what has passed its gateway."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

from stoker import __version__
from stoker.account import Account, Role
from stoker.api.auth import Caller
from stoker.api.gateway import Gateway
from stoker.api.usage import exposition
from stoker.api.wire import Json
from stoker.page import Page
from stoker.usage import KeyUsage

router = APIRouter(tags=["server"])
metrics = APIRouter(tags=["server"])


@dataclass(frozen=True)
class Alive:
    status: str
    version: str


@dataclass(frozen=True)
class Info:
    """The server, and who the caller is to it."""

    version: str
    account: Account


@router.get("/health", response_model=Alive)
async def health() -> Response:
    """The one call that needs no key."""
    return Json(Alive("ok", __version__))


@router.get("/info", response_model=Info)
def info(who: Caller) -> Response:
    return Json(Info(__version__, who))


@router.get("/usage", response_model=Page[KeyUsage])
def usage(request: Request, who: Caller) -> Response:
    """Tokens and requests by key and model since the server started: the caller's tenant, or all for an admin."""
    return Json(Page(tuple(_gateway(request).meter.usage(_scope(who)))))


@metrics.get("/metrics", response_class=PlainTextResponse)
def gateway_metrics(request: Request, who: Caller) -> Response:
    """The gateway's counters for Prometheus: the caller's tenant, or all for an admin."""
    gateway = _gateway(request)
    text = exposition(gateway.meter, gateway.in_flight, gateway.held, _scope(who))
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


def _scope(who: Account) -> str | None:
    return None if who.role is Role.ADMIN else who.tenant


def _gateway(request: Request) -> Gateway:
    gateway: Gateway = request.app.state.gateway
    return gateway
