"""The page of queues: what each deserves, uses, has borrowed and waits for, drawn on one scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import APIRouter
from starlette.responses import Response

from stoker.console.session import PageRoute, Viewer
from stoker.queue import depth
from stoker.queue_standing import Standing

router = APIRouter(route_class=PageRoute)


@dataclass(frozen=True)
class Bar:
    """A queue in percent of the scale: what it holds, what of it is borrowed, what waits, and its bounds."""

    deserved: float
    within: float
    borrowed: float
    waiting: float  # cut where the scale ends
    ceiling: float | None  # None: beyond the scale, or there is none


@router.get("/queues")
def queues_page(view: Viewer) -> Response:
    found = view.app.queues.find(view.who)
    scale = scale_of(found)
    by_name = {one.queue.name: one.queue for one in found}
    return view.page(
        "queues.html",
        found=found,
        scale=scale,
        bars={one.queue.name: bar(one, scale) for one in found},
        depths={one.queue.name: depth(one.queue, by_name) for one in found},
        users=[(one, user) for one in found if not _has_children(one, found) for user in one.users],
    )


def scale_of(found: Sequence[Standing]) -> float:
    """Devices at the right end: the pool, or what anybody holds or deserves where that is more."""
    return max((float(max(one.capacity, one.held, one.now.deserved)) for one in found), default=0.0) or 1.0


def bar(standing: Standing, scale: float) -> Bar:
    def percent(devices: float) -> float:
        return round(100.0 * devices / scale, 3)

    held = percent(standing.held)
    borrowed = percent(standing.borrowed)
    ceiling = math.inf if standing.now.ceiling is None else percent(standing.now.ceiling)
    return Bar(
        deserved=percent(standing.now.deserved),
        within=round(held - borrowed, 3),
        borrowed=borrowed,
        waiting=round(max(0.0, min(percent(standing.waiting), 100.0 - held)), 3),
        ceiling=ceiling if ceiling <= 100.0 else None,
    )


def _has_children(standing: Standing, found: Sequence[Standing]) -> bool:
    return any(one.queue.parent == standing.queue.name for one in found)
