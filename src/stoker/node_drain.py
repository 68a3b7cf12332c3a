"""NodeDrain: that this platform keeps new work away from a node, and why. It is what may be taken back later."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from stoker.cluster import Node, Place


@dataclass(frozen=True)
class NodeDrain:
    """Its `reason` is what the engine was told, and by which the engine knows the drain as ours."""

    place: Place
    reason: str
    who: str
    at: float  # seconds since the epoch
    move: int = 0  # the move that left the node closed; 0: an administrator drained it
    why: str = ""  # the same for people
    told: bool = False  # whether its engine has been told; until then only our own scheduler heeds it


def with_drains(nodes: Iterable[Node], kept: Mapping[Place, NodeDrain]) -> tuple[Node, ...]:
    """`nodes` with those closed that we keep closed, whatever their engine shows by now."""
    if not kept:
        return tuple(nodes)
    return tuple(_closed(node, kept[node.place]) if node.place in kept else node for node in nodes)


def _closed(node: Node, drain: NodeDrain) -> Node:
    return replace(node, schedulable=False, reason=drain.why or drain.reason)
