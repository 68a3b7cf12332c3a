"""The front page: what there is, who uses it, how well, and what happened last."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from stoker.console.moves import on_the_way
from stoker.console.moves import rows as move_rows
from stoker.console.pool import HOLDING, pool
from stoker.console.session import PageRoute, Viewer
from stoker.job import JobState

MOST_HOLDING = 1000
MOST_LINES = 8
MOST_MOVES = 50

router = APIRouter(route_class=PageRoute)


@router.get("/")
def overview(view: Viewer) -> Response:
    app, who = view.app, view.who
    holding = app.jobs.find(who, states=tuple(HOLDING), limit=MOST_HOLDING)
    shares = view.console.speeds.of(holding, lambda job: app.jobs.telemetry(job, who))
    waiting = app.jobs.find(who, states=(JobState.PENDING,), limit=MOST_LINES)
    moves = app.moves.find(who, everything=True, limit=MOST_MOVES)
    return view.page(
        "overview.html",
        moves=move_rows(moves, view.now),
        leaving=on_the_way(moves),
        pool=pool(app.nodes(who), holding, shares, app.engines.find(who), app.engines.foreign(who)),
        counts=app.jobs.counts(who),
        running=holding[:MOST_LINES],
        waiting=waiting,
        shares=shares,
        recent=app.jobs.find(who, limit=1),
        shipments=app.shipments.find(who, limit=5),
        endpoints=app.endpoints.find(who),
    )
