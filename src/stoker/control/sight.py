"""Sight: the pool as the engines themselves show it, without what we keep closed on top."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from stoker.clock import Clock
from stoker.cluster import Node, Place
from stoker.control.courier import Courier
from stoker.control.loop import Dispatcher
from stoker.control.roster import Roster
from stoker.engine import CanSeeOthers
from stoker.errors import Away, Conflict, NotFound
from stoker.foreign import ForeignJob


@dataclass
class Sight:
    """One look at every engine. Of one that is away it holds what was seen last."""

    nodes: dict[Place, Node] = field(default_factory=dict)
    others: list[ForeignJob] = field(default_factory=list)
    answered_at: dict[str, float] = field(default_factory=dict)
    away: dict[str, str] = field(default_factory=dict)  # engine -> why it does not answer

    def machine(self, name: str) -> list[Node]:
        """One machine's nodes in every engine that knows it; `name` is the machine's, or that of a node of it.

        Raises NotFound with near names, and Conflict where engines call several machines so.
        """
        named = {node.machine for node in self.nodes.values() if node.name == name}
        named = {name} if any(node.machine == name for node in self.nodes.values()) else named
        if not named:
            raise NotFound.named("node", name, (place.node for place in self.nodes))
        if len(named) > 1:
            raise Conflict(f'"{name}" is the name of several machines; say which: {", ".join(sorted(named))}')
        return [node for node in self.nodes.values() if node.machine in named]

    def of(self, machine: str) -> frozenset[Place]:
        return frozenset(place for place, node in self.nodes.items() if node.machine == machine)


def look(roster: Roster, dispatcher: Dispatcher, clock: Clock) -> Sight:
    """Asks no engine that answers slowly: a courier tells what it was told last."""
    sight = Sight()
    for name, engine in roster.items():
        # The age first: what is read after it is at least as young.
        told = engine.answered_at if isinstance(engine, Courier) else clock.now()
        sight.answered_at[name] = told or 0.0
        nodes: Iterable[Node]
        try:
            nodes = engine.inventory()
        except Away as error:
            sight.away[name] = engine.trouble if isinstance(engine, Courier) else str(error)
            nodes = dispatcher.shown(name)
        sight.nodes |= {node.place: node for node in nodes}
        if isinstance(engine, CanSeeOthers):
            sight.others += engine.others()
    return sight
