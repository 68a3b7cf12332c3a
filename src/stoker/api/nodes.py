"""Nodes over HTTP: what there is, what is kept closed, and machines that go from one engine to another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Body, Query, Response
from pydantic import Field

from stoker.api.auth import Caller, Platform
from stoker.api.fields import JobId, Limit, Name
from stoker.api.wire import Json
from stoker.balance import Balance, BalanceReport
from stoker.cluster import Node
from stoker.control.moves import Terms
from stoker.hostlist import expand_all
from stoker.node_drain import NodeDrain
from stoker.node_move import NodeMove
from stoker.node_topology import NodeTopology
from stoker.page import Page
from stoker.typed import strict

router = APIRouter(prefix="/nodes", tags=["nodes"])

_PLAIN = r"^[^\x00-\x1f\x7f]*$"
_Nodes = Annotated[
    tuple[Annotated[str, Field(min_length=1, max_length=4096, pattern=_PLAIN)], ...],
    Field(min_length=1, max_length=1000, description="node expressions: gpu3, gpu[12-19]"),
]
_Name = Annotated[str, Field(min_length=1, max_length=256, pattern=_PLAIN)]
_Engine = Annotated[str, Field(max_length=64, pattern=_PLAIN)]
_Reason = Annotated[str, Field(max_length=200, pattern=_PLAIN)]


@strict
@dataclass(frozen=True)
class NewMove:
    """Which machines should go to which engine."""

    nodes: _Nodes
    to: _Engine
    source: _Engine = ""  # the engine they leave; empty: the only other one they belong to
    preempt: bool = False
    within: Annotated[float | None, Field(ge=1, le=30 * 86400, description="seconds; then it is undone")] = None
    reason: _Reason = ""


@strict
@dataclass(frozen=True)
class NewDrain:
    """Which nodes should take no new work, and why."""

    nodes: _Nodes
    reason: _Reason
    engine: _Engine = ""  # empty: every engine that knows them


@strict
@dataclass(frozen=True)
class Undrain:
    nodes: _Nodes
    engine: _Engine = ""


@router.get("", response_model=Page[Node])
def find(app: Platform, who: Caller) -> Response:
    return Json(Page(tuple(app.nodes(who))))


@router.get("/drains", response_model=Page[NodeDrain])
def drains(app: Platform, who: Caller) -> Response:
    """What the platform keeps closed, by hand or after a move."""
    return Json(Page(tuple(app.drains.find(who))))


@router.post("/drain", response_model=Page[NodeDrain])
def drain(body: NewDrain, app: Platform, who: Caller) -> Response:
    """No new work from now on; what runs goes on."""
    names = expand_all(body.nodes)
    made = app.drains.drain(names, body.reason, who, engine=body.engine, moving=app.moves.moving())
    return Json(Page(tuple(made)))


@router.post("/undrain", response_model=Page[NodeDrain])
def undrain(body: Undrain, app: Platform, who: Caller) -> Response:
    """Take back what this platform drained."""
    return Json(Page(tuple(app.drains.undrain(expand_all(body.nodes), who, engine=body.engine))))


@router.get("/topology", response_model=dict[str, NodeTopology])
def topology(app: Platform, who: Caller) -> Response:
    """Where nodes are in the network, as administrators say; by name. What engines tell is with the nodes."""
    return Json(dict(app.topology.find(who)))


@router.put("/topology", response_model=dict[str, NodeTopology])
def apply_topology(body: Annotated[dict[_Name, NodeTopology], Body()], app: Platform, who: Caller) -> Response:
    """Add to what is said; returns all."""
    return Json(dict(app.topology.apply(body, who)))


@router.delete("/topology", status_code=204)
def clear_topology(
    app: Platform, who: Caller, node: Annotated[list[_Name] | None, Query(description="none: all of them")] = None
) -> None:
    """Forget what is said of these nodes."""
    app.topology.clear(node or (), who)


@router.get("/moves", response_model=Page[NodeMove])
def moves(
    app: Platform,
    who: Caller,
    everything: Annotated[bool, Query(alias="all", description="those that are over too")] = False,
    limit: Limit = 100,
) -> Response:
    """Newest first."""
    return Json(Page(tuple(app.moves.find(who, everything=everything, limit=limit))))


@router.post("/moves", response_model=Page[NodeMove], status_code=201)
def move(body: NewMove, app: Platform, who: Caller) -> Response:
    """Drain machines on one engine, wait until they are free, and open them on another; all or none begin."""
    terms = Terms(body.source, preempt=body.preempt, within=body.within, reason=body.reason)
    return Json(Page(tuple(app.moves.create(expand_all(body.nodes), body.to, who, terms))), 201)


@router.get("/moves/{move_id}", response_model=NodeMove)
def get_move(move_id: JobId, app: Platform, who: Caller) -> Response:
    return Json(app.moves.get(move_id, who))


@router.post("/moves/{move_id}/undo", response_model=NodeMove)
def undo(move_id: JobId, app: Platform, who: Caller) -> Response:
    """Put everything back."""
    return Json(app.moves.undo(move_id, who))


@router.get("/balances", response_model=Page[BalanceReport])
def balances(app: Platform, who: Caller) -> Response:
    """Automatic moves: the policies, and what each saw last."""
    return Json(Page(tuple(app.balances.find(who))))


@router.put("/balances", response_model=BalanceReport)
def put_balance(body: Balance, app: Platform, who: Caller) -> Response:
    """Set the policy of a pair of engines."""
    return Json(app.balances.put(body, who))


@router.delete("/balances/{first}/{second}", status_code=204)
def remove_balance(first: Name, second: Name, app: Platform, who: Caller) -> None:
    """No automatic moves between these two; those under way go on."""
    app.balances.remove(first, second, who)
