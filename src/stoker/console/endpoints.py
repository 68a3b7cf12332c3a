"""The endpoint pages: what answers under which name, and a chat box that goes through the gateway like anyone."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from stoker.console.session import PageRoute, Viewer
from stoker.endpoint import Endpoint, ReplicaState

router = APIRouter(route_class=PageRoute)


@router.get("/endpoints")
def endpoints_page(view: Viewer) -> Response:
    return view.page("endpoints.html", endpoints=view.app.endpoints.find(view.who), ready=ready)


@router.get("/endpoints/{name}")
def endpoint_page(view: Viewer, name: str, beside: str = "") -> Response:
    endpoint = view.app.endpoints.get(name, view.who)
    others = [
        *_versions(endpoint),
        *(other.name for other in view.app.endpoints.find(view.who) if other.name != name),
    ]
    return view.page(
        "endpoint.html",
        endpoint=endpoint,
        others=others,
        beside=beside if beside in others else "",
        ready=ready,
        base_url=f"{view.request.url.scheme}://{view.request.headers.get('host', '')}/v1",
    )


@router.post("/endpoints/{name}/stop")
def stop(view: Viewer, name: str) -> Response:
    view.app.endpoints.stop(name, view.who)
    return RedirectResponse("/endpoints", status_code=303)


@router.post("/endpoints/{name}/deploy")
def deploy(view: Viewer, name: str, version: Annotated[int, Form()]) -> Response:
    view.app.endpoints.deploy(name, version, view.who)
    return RedirectResponse(f"/endpoints/{name}", status_code=303)


def _versions(endpoint: Endpoint) -> list[str]:
    """Names under which the gateway reaches the other versions that are up: ``support@3``."""
    up = {replica.version for replica in endpoint.replicas if replica.state is ReplicaState.READY}
    return [f"{endpoint.name}@{version}" for version in sorted(up - {endpoint.version})]


def ready(endpoint: Endpoint) -> int:
    """Replicas that answer."""
    return sum(replica.state is ReplicaState.READY for replica in endpoint.replicas)
