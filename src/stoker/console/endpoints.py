"""The endpoint pages: what answers under which name, and a chat box that goes through the gateway like anyone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Form
from fastapi.responses import RedirectResponse
from pydantic import BaseModel
from starlette.responses import Response

from stoker.console.session import PageRoute, View, Viewer
from stoker.endpoint import Endpoint, EndpointSettings, ReplicaState
from stoker.endpointfile import read_endpoint, spelled
from stoker.errors import BadInput

router = APIRouter(route_class=PageRoute)


class Settings(BaseModel):
    """The form, as it was typed; the fields are those of the endpoint section of a file."""

    min: str = ""
    max: str = ""
    target: str = ""
    ttft: str = ""
    tpot: str = ""
    reserve: str = ""
    window: str = ""
    idle: str = ""
    hold: str = ""
    sleep: str = ""
    queue: str = ""


@router.get("/endpoints")
def endpoints_page(view: Viewer) -> Response:
    return view.page("endpoints.html", endpoints=view.app.endpoints.find(view.who), ready=ready)


@router.get("/endpoints/{name}")
def endpoint_page(view: Viewer, name: str, beside: str = "") -> Response:
    return _page(view, view.app.endpoints.get(name, view.who), beside)


@router.post("/endpoints/{name}")
def scale(view: Viewer, name: str, given: Annotated[Settings, Form()]) -> Response:
    """Other bounds; what is wrong with them is told beside the form, which keeps what was typed."""
    typed = given.model_dump()
    try:
        settings = read_endpoint({field: value.strip() for field, value in typed.items() if value.strip()})
        view.app.endpoints.scale(name, settings, view.who)
    except BadInput as error:
        return _page(view, view.app.endpoints.get(name, view.who), typed=typed, wrong=view.say.error(error))
    return RedirectResponse(f"/endpoints/{quote(name)}", status_code=303)


def _page(
    view: View, endpoint: Endpoint, beside: str = "", *, typed: Mapping[str, str] | None = None, wrong: str = ""
) -> Response:
    others = [
        *_versions(endpoint),
        *(other.name for other in view.app.endpoints.find(view.who) if other.name != endpoint.name),
    ]
    return view.page(
        "endpoint.html",
        endpoint=endpoint,
        others=others,
        beside=beside if beside in others else "",
        ready=ready,
        base_url=f"{view.request.url.scheme}://{view.request.headers.get('host', '')}/v1",
        settings=typed or spelled(EndpointSettings(endpoint.scaling, endpoint.queue)),
        wrong=wrong,
        reclaim=view.app.reclaims.of(endpoint.name, view.who) if endpoint.follows else None,
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
