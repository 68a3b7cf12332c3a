"""Room: what is free on one node, and whether a job fits into it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from stoker.cluster import WHOLE, Device, Health, Node
from stoker.job import Job, JobSpec, Placement, Resources

_SLOTS_PER_CPU = 16
_LEAST_SLOTS = 64


class Room:
    """Free CPUs, memory and device thousandths of one node. Changes as jobs are put in and taken out."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.cpus = node.cpus
        self.memory = node.memory
        self.slots = max(
            _LEAST_SLOTS, node.cpus * _SLOTS_PER_CPU
        )  # jobs, so that those without CPUs have a limit too
        usable = [device for device in node.devices if device.health is not Health.FAILED]
        self.free = {device.index: WHOLE for device in usable}  # device index -> thousandths
        self._models = _by_model(usable)

    def copy(self) -> Room:
        twin = object.__new__(Room)
        twin.__dict__.update(self.__dict__, free=dict(self.free))
        return twin

    def meet(self, other: Room) -> Room:
        """What is free in both."""
        both = self.copy()
        both.cpus = min(self.cpus, other.cpus)
        both.slots = min(self.slots, other.slots)
        both.memory = min(self.memory, other.memory)
        both.free = {index: min(free, other.free[index]) for index, free in self.free.items()}
        return both

    def fit(self, need: Resources) -> Placement | None:
        """Where in this node the job would go now; None when it does not fit."""
        if need.cpus > self.cpus or need.memory > self.memory or self.slots < 1:
            return None
        if not need.accelerators:
            return Placement(self.node.name)
        for model, indexes in self._models.items():
            if acceptable(model, need) and (devices := self._devices(indexes, need)):
                return Placement(self.node.name, devices)
        return None

    def take(self, need: Resources, placement: Placement) -> None:
        self._change(need, placement, -1)

    def give(self, need: Resources, placement: Placement) -> None:
        self._change(need, placement, 1)

    def _change(self, need: Resources, placement: Placement, sign: int) -> None:
        self.cpus += sign * need.cpus
        self.memory += sign * need.memory
        self.slots += sign
        for device in placement.devices:
            if device in self.free:  # it may have failed since
                self.free[device] += sign * need.milli

    def _devices(self, indexes: Iterable[int], need: Resources) -> tuple[int, ...]:
        able = [index for index in indexes if self.free[index] >= need.milli]
        if len(able) < need.accelerators:
            return ()
        able.sort(key=lambda index: (self.free[index], index))  # fill the fullest first: whole ones stay whole
        return tuple(sorted(able[: need.accelerators]))


def rooms_of(nodes: Iterable[Node], active: Iterable[Job]) -> dict[str, Room]:
    """Free room by node name, with what `active` jobs hold taken out."""
    rooms = {node.name: Room(node) for node in nodes}
    for job in active:
        for placement in job.placements:
            if placement.node in rooms:
                rooms[placement.node].take(job.spec.resources, placement)
    return rooms


def fit_job(rooms: Mapping[str, Room], spec: JobSpec) -> tuple[Placement, ...]:
    """A placement on each of `spec.nodes` nodes of one engine; empty when there is none now."""
    by_engine: dict[str, list[Placement]] = {}
    for room in rooms.values():
        node = room.node
        if not node.schedulable or (spec.engine and spec.engine != node.engine):
            continue
        placement = room.fit(spec.resources)
        if placement is None:
            continue
        found = by_engine.setdefault(node.engine, [])
        found.append(placement)
        if len(found) == spec.nodes:
            return tuple(found)
    return ()


def acceptable(model: str, need: Resources) -> bool:
    return not need.models or model.lower() in (wanted.lower() for wanted in need.models)


def _by_model(devices: Iterable[Device]) -> dict[str, list[int]]:
    models: dict[str, list[int]] = {}
    for device in devices:
        models.setdefault(device.model, []).append(device.index)
    return models
