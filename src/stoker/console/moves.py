"""Machines on their way from one engine to another, on the front page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fastapi import APIRouter
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from stoker.cluster import Place
from stoker.console.session import PageRoute, Viewer
from stoker.node_move import MoveState, NodeMove, Step

_SHOWN_S = 3600.0  # how long one that is over is still shown
_WAY = ("drain", "free", "open")

router = APIRouter(route_class=PageRoute)


@router.post("/moves/{move_id}/undo")
def undo(view: Viewer, move_id: int) -> Response:
    view.app.moves.undo(move_id, view.who)
    return RedirectResponse("/", status_code=303)


@dataclass(frozen=True)
class MoveRow:
    move: NodeMove
    way: tuple[tuple[str, str], ...]  # each step with how it stands: waiting, running, done, failed


def rows(moves: Iterable[NodeMove], now: float) -> list[MoveRow]:
    """Those under way and those that ended a moment ago, newest first."""
    shown = (move for move in moves if move.ended_at is None or now - move.ended_at < _SHOWN_S)
    return [MoveRow(move, _way(move)) for move in shown]


def on_the_way(moves: Iterable[NodeMove]) -> Mapping[Place, NodeMove]:
    """By the node that a machine leaves."""
    return {move.source: move for move in moves if not move.state.final}


def _way(move: NodeMove) -> tuple[tuple[str, str], ...]:
    done = len(_WAY) if move.state is MoveState.DONE else move.took(Step.DRAINED) + move.took(Step.OPEN)
    here = "running" if move.state in (MoveState.DRAINING, MoveState.OPENING) else "failed"
    return tuple(
        (step, "done" if place < done else here if place == done else "waiting") for place, step in enumerate(_WAY)
    )
