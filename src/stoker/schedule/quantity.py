"""Quantity: how much of a quota a job takes, in thousandths of devices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property

from stoker.cluster import WHOLE, Node, Place
from stoker.job import JobSpec, Placement
from stoker.queue import Queue
from stoker.schedule.branch import Held


class Quantity:
    def __init__(self, nodes: Sequence[Node], queues: Sequence[Queue]) -> None:
        self._by_model = any(queue.asks_models for queue in queues)
        self._nodes = nodes
        self._places: dict[Place, Node] = {}

    @cached_property
    def widest(self) -> int:
        """Devices of the node that has most."""
        return max((len(node.devices) for node in self._nodes), default=0)

    @cached_property
    def total(self) -> int:
        """Devices of the pool."""
        return sum(len(node.devices) for node in self._nodes)

    @cached_property
    def models(self) -> tuple[str, ...]:
        """Those of the pool."""
        return tuple(dict.fromkeys(device.model for node in self._nodes for device in node.devices))

    def asked(self, spec: JobSpec) -> int:
        """What it takes at most, before it has a place: whole nodes count as the widest ones."""
        need = spec.resources
        if spec.exclusive:
            return spec.nodes * self.widest * WHOLE if need.accelerators else 0
        return spec.nodes * need.accelerators * need.milli

    def held(self, spec: JobSpec, engine: str, placements: Sequence[Placement]) -> Held:
        """What it takes where it is."""
        if not self._by_model and not spec.exclusive:
            return Held(sum(len(place.devices) for place in placements) * spec.resources.milli, {})
        total, of = 0, Counter[str]()
        for place in placements:
            node = self._node(engine, place.node)
            models = {device.index: device.model.lower() for device in node.devices} if node else {}
            devices = tuple(models) if spec.exclusive and models else place.devices
            milli = WHOLE if spec.exclusive else spec.resources.milli
            total += len(devices) * milli
            for device in devices:
                of[models.get(device, "")] += milli
        return Held(total, of if self._by_model else {})

    def _node(self, engine: str, name: str) -> Node | None:
        if not self._places:
            self._places = {node.place: node for node in self._nodes}
        return self._places.get(Place(engine, name))
