"""Queues over HTTP: what each deserves, and how it stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query, Response

from stoker.api.auth import Caller, Platform
from stoker.api.fields import Name
from stoker.api.wire import Json
from stoker.errors import BadInput
from stoker.page import Page
from stoker.queue import Queue
from stoker.queue_standing import Standing

router = APIRouter(prefix="/queues", tags=["queues"])


@router.get("", response_model=Page[Standing])
def find(app: Platform, who: Caller) -> Response:
    """Those that the caller may use, parents before their children."""
    return Json(Page(tuple(app.queues.find(who))))


@router.post("", response_model=Standing, status_code=201)
def add(body: Queue, app: Platform, who: Caller) -> Response:
    return Json(app.queues.add(body, who), 201)


@router.put("", response_model=Page[Standing])
def put_all(
    body: Sequence[Queue],
    app: Platform,
    who: Caller,
    prune: Annotated[bool, Query(description="remove all queues that are not given")] = False,
) -> Response:
    """Set several queues, all or none."""
    return Json(Page(tuple(app.queues.put(body, who, prune=prune))))


@router.get("/{name}", response_model=Standing)
def get(name: Name, app: Platform, who: Caller) -> Response:
    return Json(app.queues.get(name, who))


@router.put("/{name}", response_model=Standing)
def put(name: Name, body: Queue, app: Platform, who: Caller) -> Response:
    """Set a queue, in place of the one of that name."""
    if body.name != name:
        raise BadInput(f'queue "{body.name}" was given for "{name}"; the names must be the same', param="name")
    return Json(app.queues.put([body], who)[0])


@router.delete("/{name}", status_code=204)
def remove(name: Name, app: Platform, who: Caller) -> None:
    """Jobs that are in it go on as those of the default queue."""
    app.queues.remove(name, who)
