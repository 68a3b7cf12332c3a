"""Endpoints over HTTP. The keys that the gateway shows to replicas never leave the platform."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import Field

from stoker.api.auth import Caller, Platform
from stoker.api.fields import Name
from stoker.api.wire import Json
from stoker.endpoint import Endpoint, EndpointSettings, Scaling
from stoker.page import Page
from stoker.reclaim import Reclaim
from stoker.typed import strict

router = APIRouter(prefix="/endpoints", tags=["endpoints"])


@strict
@dataclass(frozen=True)
class Deployment:
    """Which version of the model of that name should answer, and by how many replicas."""

    version: Annotated[int, Field(ge=1, le=2**31 - 1)]
    replicas: Annotated[int, Field(ge=1, le=1000)] | None = None  # none: as it did so far, one at first
    scaling: Scaling | None = None  # instead of `replicas`: as many as the load asks for
    queue: str = ""  # of its replicas


@router.get("", response_model=Page[Endpoint])
def find(app: Platform, who: Caller) -> Response:
    return Json(Page(tuple(shown(endpoint) for endpoint in app.endpoints.find(who))))


@router.get("/{name}", response_model=Endpoint)
def get(name: Name, app: Platform, who: Caller) -> Response:
    return Json(shown(app.endpoints.get(name, who)))


@router.get("/{name}/reclaim", response_model=Reclaim)
def reclaim(name: Name, app: Platform, who: Caller) -> Response:
    """What it could have now beyond what it has, within which time, and how long that took of late."""
    return Json(app.reclaims.of(name, who))


@router.put("/{name}", response_model=Endpoint)
def deploy(name: Name, body: Deployment, app: Platform, who: Caller) -> Response:
    """Bring up a version; requests go over to it once it is ready, without one being lost."""
    app.endpoints.deploy(name, body.version, who, replicas=body.replicas, scaling=body.scaling, queue=body.queue)
    return Json(shown(app.endpoints.get(name, who)))


@router.patch("/{name}", response_model=Endpoint)
def scale(name: Name, body: EndpointSettings, app: Platform, who: Caller) -> Response:
    """Other bounds for the replicas; the version stays."""
    return Json(shown(app.endpoints.scale(name, body, who)))


@router.delete("/{name}", status_code=204)
def stop(name: Name, app: Platform, who: Caller) -> None:
    """Drain and stop the replicas, and drop the name."""
    app.endpoints.stop(name, who)


def shown(endpoint: Endpoint) -> Endpoint:
    """`endpoint` without what the gateway alone may know."""
    shown = tuple(replace(replica, secret="", key_file="") for replica in endpoint.replicas)
    return replace(endpoint, replicas=shown)
