"""The pool as a field of cells: what each device does, for whom, and how well."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from stoker.cluster import WHOLE, Device, Node
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

    @property
    def devices(self) -> int:
        return sum(len(field.node.devices) for field in self.nodes)

    @property
    def devices_used(self) -> int:
        return sum(bool(cell.jobs) for cell in self._cells() if cell.device)

    @property
    def cpus(self) -> int:
        return sum(field.node.cpus for field in self.nodes)

    @property
    def cpus_used(self) -> int:
        return sum(field.cpus_used for field in self.nodes)

    @property
    def memory(self) -> int:
        return sum(field.node.memory for field in self.nodes)

    @property
    def memory_used(self) -> int:
        return sum(field.memory_used for field in self.nodes)

    def _cells(self) -> Iterable[Cell]:
        return (cell for field in self.nodes for cell in field.cells)


def pool(nodes: Sequence[Node], jobs: Iterable[Job], shares: Mapping[int, float]) -> Pool:
    """The field of `nodes` as `jobs` hold them; `shares` is delivered of expected by job id."""
    held = _held(jobs)
    fields = tuple(_field(node, held.get(node.name, ()), shares) for node in nodes)
    cells = [cell for field in fields for cell in field.cells if cell.jobs]
    uses = Counter(cell.jobs[0].owner for cell in cells)
    colours = colours_of(uses)
    known = [cell.share for cell in cells if cell.share is not None]
    return Pool(
        nodes=fields,
        owners=tuple(OwnerUse(owner, colours[owner], count) for owner, count in uses.most_common()),
        colours=colours,
        delivered=sum(known) / len(known) if known else None,
    )


def colours_of(owners: Iterable[str]) -> dict[str, int]:
    """A colour for each owner, the same on every page and day unless two would clash."""
    taken: dict[str, int] = {}
    for owner in sorted(owners):
        first = zlib.crc32(owner.encode()) % COLOURS
        free = ((first + step) % COLOURS for step in range(COLOURS))
        taken[owner] = next((colour for colour in free if colour not in taken.values()), first)
    return taken


def _held(jobs: Iterable[Job]) -> dict[str, tuple[Job, ...]]:
    """Node name -> the jobs that hold something of it, oldest first."""
    held: dict[str, tuple[Job, ...]] = {}
    for job in sorted((job for job in jobs if job.state in HOLDING), key=lambda job: job.id):
        for placement in job.placements:
            held[placement.node] = (*held.get(placement.node, ()), job)
    return held


def _field(node: Node, jobs: tuple[Job, ...], shares: Mapping[int, float]) -> NodeField:
    cells = _device_cells(node, jobs, shares) if node.devices else _core_cells(node, jobs, shares)
    return NodeField(
        node=node,
        cells=cells,
        cpus_used=min(node.cpus, sum(job.spec.resources.cpus for job in jobs)),
        memory_used=sum(job.spec.resources.memory for job in jobs),
        jobs=jobs,
    )


def _device_cells(node: Node, jobs: Iterable[Job], shares: Mapping[int, float]) -> tuple[Cell, ...]:
    by_device: dict[int, list[Job]] = {}
    for job in jobs:
        for placement in job.placements:
            if placement.node == node.name:
                for index in placement.devices:
                    by_device.setdefault(index, []).append(job)
    return tuple(_cell(device.index, device, by_device.get(device.index, ()), shares) for device in node.devices)


def _core_cells(node: Node, jobs: Iterable[Job], shares: Mapping[int, float]) -> tuple[Cell, ...]:
    if node.cpus > MOST_CORES:
        return ()
    by_core = [job for job in jobs for _ in range(job.spec.resources.cpus)]
    return tuple(_cell(core, None, by_core[core : core + 1], shares) for core in range(node.cpus))


def _cell(index: int, device: Device | None, jobs: Sequence[Job], shares: Mapping[int, float]) -> Cell:
    milli = min(WHOLE, sum(job.spec.resources.milli for job in jobs))
    share = next((shares[job.id] for job in jobs if job.id in shares), None)
    return Cell(index, device, tuple(jobs), milli, share)
