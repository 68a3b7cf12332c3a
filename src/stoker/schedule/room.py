"""Room: what is free on one node, and whether a job fits into it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from stoker.cluster import WHOLE, Device, Health, Node, Place
from stoker.foreign import ForeignJob, Held
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

    @property
    def untouched(self) -> bool:
        """Whether nothing at all is held."""
        return self.cpus == self.node.cpus and all(free == WHOLE for free in self.free.values())

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

    def take(self, spec: JobSpec, placement: Placement) -> None:
        self._change(spec, placement, -1)

    def give(self, spec: JobSpec, placement: Placement) -> None:
        self._change(spec, placement, 1)

    def take_foreign(self, held: Held) -> None:
        """What somebody else's job holds. Of devices that its engine does not name, the freest count as held."""
        self.cpus -= held.cpus
        self.memory -= held.memory
        self.slots -= 1
        freest = sorted(self.free, key=lambda index: (-self.free[index], index))
        for device in held.indexes or freest[: held.devices]:
            if device in self.free:
                self.free[device] = 0

    def _change(self, spec: JobSpec, placement: Placement, sign: int) -> None:
        need, devices = spec.resources, placement.devices
        if spec.exclusive:
            need = Resources(cpus=self.node.cpus, memory=self.node.memory)
            devices = tuple(self.free)
        self.cpus += sign * need.cpus
        self.memory += sign * need.memory
        self.slots += sign
        for device in devices:
            if device in self.free:  # it may have failed since
                self.free[device] += sign * need.milli

    def _devices(self, indexes: Iterable[int], need: Resources) -> tuple[int, ...]:
        able = [index for index in indexes if self.free[index] >= need.milli]
        if len(able) < need.accelerators:
            return ()
        able.sort(key=lambda index: (self.free[index], index))  # fill the fullest first: whole ones stay whole
        return tuple(sorted(able[: need.accelerators]))


class Rooms:
    """The room of every node. A machine that belongs to two engines is one machine: what is held through one of
    them is not free through the other."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        self._rooms = {node.place: Room(node) for node in nodes}
        twins: dict[str, list[Place]] = {}
        for place, room in self._rooms.items():
            twins.setdefault(room.node.machine, []).append(place)
        self._twins = {place: twins[room.node.machine] for place, room in self._rooms.items()}

    def __iter__(self) -> Iterator[Room]:
        return iter(self._rooms.values())

    def __len__(self) -> int:
        return len(self._rooms)

    def copy(self) -> Rooms:
        return self._with({place: room.copy() for place, room in self._rooms.items()})

    def meet(self, other: Rooms) -> Rooms:
        """What is free in both; they are of the same nodes."""
        return self._with({place: room.meet(other._rooms[place]) for place, room in self._rooms.items()})

    def take(self, spec: JobSpec, engine: str, placements: Iterable[Placement]) -> None:
        for placement in placements:
            for room in self._of(engine, placement.node):
                room.take(spec, placement)

    def give(self, spec: JobSpec, engine: str, placements: Iterable[Placement]) -> None:
        for placement in placements:
            for room in self._of(engine, placement.node):
                room.give(spec, placement)

    def take_foreign(self, other: ForeignJob) -> None:
        for held in other.held:
            for room in self._of(other.engine, held.node):
                room.take_foreign(held)

    def _of(self, engine: str, node: str) -> list[Room]:
        return [self._rooms[place] for place in self._twins.get(Place(engine, node), ())]

    def _with(self, rooms: dict[Place, Room]) -> Rooms:
        twin = object.__new__(Rooms)
        twin._rooms, twin._twins = rooms, self._twins
        return twin


def rooms_of(nodes: Iterable[Node], active: Iterable[Job], others: Iterable[ForeignJob] = ()) -> Rooms:
    """Free room, with what `active` jobs and those of others hold taken out."""
    rooms = Rooms(nodes)
    for job in active:
        rooms.take(job.spec, job.engine, job.placements)
    for other in others:
        rooms.take_foreign(other)
    return rooms


def fit_job(rooms: Iterable[Room], spec: JobSpec) -> tuple[str, tuple[Placement, ...]]:
    """An engine and a placement on each of `spec.nodes` of its nodes; no placements when there are none now."""
    by_engine: dict[str, list[Placement]] = {}
    for room in rooms:
        node = room.node
        if not node.schedulable or not admits(node, spec) or (spec.exclusive and not room.untouched):
            continue
        placement = room.fit(spec.resources)
        if placement is None:
            continue
        found = by_engine.setdefault(node.engine, [])
        found.append(placement)
        if len(found) == spec.nodes:
            return node.engine, tuple(found)
    return "", ()


def admits(node: Node, spec: JobSpec) -> bool:
    """Whether the job may be on this node at all, whatever is free there."""
    return (
        (not spec.engine or spec.engine == node.engine)
        and (not spec.sites or node.site in spec.sites)
        and all(taint in spec.tolerations for taint in node.taints)
    )


def acceptable(model: str, need: Resources) -> bool:
    return not need.models or model.lower() in (wanted.lower() for wanted in need.models)


def _by_model(devices: Iterable[Device]) -> dict[str, list[int]]:
    models: dict[str, list[int]] = {}
    for device in devices:
        models.setdefault(device.model, []).append(device.index)
    return models
