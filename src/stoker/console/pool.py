"""The pool as a field of cells: what each device does, for whom, and how well."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from stoker.cluster import WHOLE, Device, Node
from stoker.engine_config import EngineStatus
from stoker.foreign import ForeignJob
from stoker.job import Job, JobState

COLOURS = 10  # owners' colours in console.css: .own-0 to .own-9
MOST_CORES = 64  # a node without devices shows a cell a core up to here, else only bars
HOLDING = frozenset({JobState.STARTING, JobState.RUNNING, JobState.STOPPING})


@dataclass(frozen=True)
class Cell:
    """One device (or one core of a node without devices)."""

    index: int
    device: Device | None = None
    jobs: tuple[Job, ...] = ()
    milli: int = 0  # thousandths given away
    share: float | None = None  # delivered of expected by the first job that says
    foreign: ForeignJob | None = None  # somebody else's job, given to the engine directly

    @property
    def level(self) -> int:
        """How full the cell is drawn, in 20ths: the delivered share where known, else full."""
        if not self.jobs:
            return 0
        return max(2, min(20, round(20 * (1.0 if self.share is None else self.share))))


@dataclass(frozen=True)
class NodeField:
    node: Node
    cells: tuple[Cell, ...]
    cpus_used: int
    memory_used: int
    jobs: tuple[Job, ...]
    foreign: tuple[ForeignJob, ...] = ()


@dataclass(frozen=True)
class EngineField:
    """The nodes of one engine; `status` is None where nobody told."""

    name: str
    nodes: tuple[NodeField, ...]
    status: EngineStatus | None = None


@dataclass(frozen=True)
class OwnerUse:
    owner: str
    colour: int
    cells: int


@dataclass(frozen=True)
class Pool:
    nodes: tuple[NodeField, ...]
    owners: tuple[OwnerUse, ...]  # most cells first
    colours: Mapping[str, int]
    delivered: float | None  # mean share over the cells whose job says
    engines: tuple[EngineField, ...] = ()

    @property
    def foreign(self) -> int:
        """Cells that others' jobs hold."""
        return sum(cell.foreign is not None for cell in self._cells())

    @property
    def devices(self) -> int:
        return self._once(lambda node: len(node.devices))

    @property
    def devices_used(self) -> int:
        return sum(bool(cell.jobs or cell.foreign) for cell in self._cells() if cell.device)

    @property
    def cpus(self) -> int:
        return self._once(lambda node: node.cpus)

    @property
    def cpus_used(self) -> int:
        return sum(field.cpus_used for field in self.nodes)

    @property
    def memory(self) -> int:
        return self._once(lambda node: node.memory)

    @property
    def memory_used(self) -> int:
        return sum(field.memory_used for field in self.nodes)

    def _once(self, amount: Callable[[Node], int]) -> int:
        """Of a machine that belongs to several engines once, and the most that one of them offers."""
        machines: dict[str, int] = {}
        for field in self.nodes:
            machines[field.node.machine] = max(machines.get(field.node.machine, 0), amount(field.node))
        return sum(machines.values())

    def _cells(self) -> Iterable[Cell]:
        return (cell for field in self.nodes for cell in field.cells)


def pool(
    nodes: Sequence[Node],
    jobs: Iterable[Job],
    shares: Mapping[int, float],
    engines: Sequence[EngineStatus] = (),
    others: Iterable[ForeignJob] = (),
) -> Pool:
    """The field of `nodes` as `jobs` and `others` hold them; `shares` is delivered of expected by job id."""
    held, foreign = _held(jobs), _held_by_others(others)
    fields = tuple(
        _field(node, held.get((node.engine, node.name), ()), foreign.get((node.engine, node.name), ()), shares)
        for node in nodes
    )
    cells = [cell for field in fields for cell in field.cells if cell.jobs]
    uses = Counter(cell.jobs[0].owner for cell in cells)
    colours = colours_of(uses)
    known = [cell.share for cell in cells if cell.share is not None]
    return Pool(
        nodes=fields,
        owners=tuple(OwnerUse(owner, colours[owner], count) for owner, count in uses.most_common()),
        colours=colours,
        delivered=sum(known) / len(known) if known else None,
        engines=_by_engine(fields, engines),
    )


def colours_of(owners: Iterable[str]) -> dict[str, int]:
    """A colour for each owner, the same on every page and day unless two would clash."""
    taken: dict[str, int] = {}
    for owner in sorted(owners):
        first = zlib.crc32(owner.encode()) % COLOURS
        free = ((first + step) % COLOURS for step in range(COLOURS))
        taken[owner] = next((colour for colour in free if colour not in taken.values()), first)
    return taken


_Place = tuple[str, str]  # engine and node: two engines may have nodes of one name


def _held(jobs: Iterable[Job]) -> dict[_Place, tuple[Job, ...]]:
    """The jobs that hold something of each node, oldest first."""
    held: dict[_Place, tuple[Job, ...]] = {}
    for job in sorted((job for job in jobs if job.state in HOLDING), key=lambda job: job.id):
        for placement in job.placements:
            place = (job.engine, placement.node)
            held[place] = (*held.get(place, ()), job)
    return held


def _held_by_others(others: Iterable[ForeignJob]) -> dict[_Place, tuple[ForeignJob, ...]]:
    held: dict[_Place, tuple[ForeignJob, ...]] = {}
    for job in others:
        for part in job.held:
            place = (job.engine, part.node)
            held[place] = (*held.get(place, ()), job)
    return held


def _by_engine(fields: Sequence[NodeField], engines: Sequence[EngineStatus]) -> tuple[EngineField, ...]:
    """Engines in the order of their nodes, then those that have none (yet)."""
    status = {engine.name: engine for engine in engines}
    names = dict.fromkeys((*(field.node.engine for field in fields), *status))
    return tuple(
        EngineField(name, tuple(field for field in fields if field.node.engine == name), status.get(name))
        for name in names
    )


def _field(
    node: Node, jobs: tuple[Job, ...], others: tuple[ForeignJob, ...], shares: Mapping[int, float]
) -> NodeField:
    held = [part for other in others for part in other.held if part.node == node.name]
    cells = _device_cells(node, jobs, others, shares) if node.devices else _core_cells(node, jobs, shares)
    cpus = sum(job.spec.resources.cpus for job in jobs) + sum(part.cpus for part in held)
    memory = sum(job.spec.resources.memory for job in jobs) + sum(part.memory for part in held)
    return NodeField(node, cells, min(node.cpus, cpus), memory, jobs, others)


def _device_cells(
    node: Node, jobs: Iterable[Job], others: Iterable[ForeignJob], shares: Mapping[int, float]
) -> tuple[Cell, ...]:
    by_device: dict[int, list[Job]] = {}
    for job in jobs:
        for placement in job.placements:
            if placement.node == node.name:
                for index in placement.devices:
                    by_device.setdefault(index, []).append(job)
    foreign = _foreign_devices(node, others, {device.index for device in node.devices} - by_device.keys())
    return tuple(
        _cell(device.index, device, by_device.get(device.index, ()), shares, foreign.get(device.index))
        for device in node.devices
    )


def _foreign_devices(node: Node, others: Iterable[ForeignJob], free: set[int]) -> dict[int, ForeignJob]:
    """Which devices others' jobs hold; where their engine tells only how many, the first free ones are shown."""
    shown: dict[int, ForeignJob] = {}
    for other in others:
        for part in other.held:
            if part.node == node.name:
                left = sorted(free - shown.keys())
                shown |= dict.fromkeys(part.indexes or left[: part.devices], other)
    return shown


def _core_cells(node: Node, jobs: Iterable[Job], shares: Mapping[int, float]) -> tuple[Cell, ...]:
    if node.cpus > MOST_CORES:
        return ()
    by_core = [job for job in jobs for _ in range(job.spec.resources.cpus)]
    return tuple(_cell(core, None, by_core[core : core + 1], shares) for core in range(node.cpus))


def _cell(
    index: int,
    device: Device | None,
    jobs: Sequence[Job],
    shares: Mapping[int, float],
    foreign: ForeignJob | None = None,
) -> Cell:
    milli = min(WHOLE, sum(job.spec.resources.milli for job in jobs))
    share = next((shares[job.id] for job in jobs if job.id in shares), None)
    return Cell(index, device, tuple(jobs), milli, share, None if jobs else foreign)
