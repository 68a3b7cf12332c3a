"""Defragmentation: which running jobs, once they are elsewhere, let a job in that fits nowhere now.

    on = by_row(field, movable)
    relief = relieve(field, job.spec, on, most=policy.moves, cost=lost_work)
    relief.moves       who goes, and where each of them fits while the others and the new one are in
    relief.placements  where the new one then fits; as long as the moves are under way it is to be kept for it
    relief.lost        what the moves cost together, as `cost` reckons it

`field` is left as it was. It answers for single jobs and for gangs, whose nodes are made free one after the other.
Who may be moved is the caller's to say (preemptible, run for long enough, not moved a moment ago). Fewer moves are
better than cheap ones, cheap ones better than such as leave the pool worth more (`stoker.schedule.worth`). The
search is bounded: it looks at the `_NODES` nodes that lack least, leaves alone who would fit nowhere else as things
are, and tries `_TRIES` ways for each number of moves. When all devices are in use hardly any job fits elsewhere:
then two that share devices may change places, so that the pieces which are free beside them come together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import nsmallest
from itertools import chain, combinations, islice
from typing import NamedTuple

import numpy as np

from stoker.cluster import WHOLE
from stoker.job import Job, JobSpec, Placement, Resources
from stoker.schedule.field import Field, Shape, shape_of
from stoker.topology import Topology

_NODES = 64
_TRIES = 32
_WAYS = 4000  # sets of jobs on one node that are looked at
_EXCHANGE = 2  # moves that it takes when jobs change places
_SEATS = 1000  # jobs that could change places: the cheapest ones


@dataclass(frozen=True)
class Moved:
    """A running job and where it goes on."""

    job: Job
    engine: str
    placements: tuple[Placement, ...]


@dataclass(frozen=True)
class Relief:
    moves: tuple[Moved, ...]
    engine: str
    placements: tuple[Placement, ...]  # of the job that waited
    lost: float = 0.0


@dataclass(frozen=True)
class _Way:
    """Jobs whose end would make room: on one node, or two that change places."""

    jobs: tuple[Job, ...]
    lost: float
    size: int  # what has to find room elsewhere: thousandths of devices, then CPUs


def _nothing(job: Job) -> float:
    del job
    return 0.0


def relieve(
    field: Field,
    spec: JobSpec,
    on: Mapping[int, Sequence[Job]],
    most: int,
    cost: Callable[[Job], float] = _nothing,
) -> Relief | None:
    """The fewest moves of jobs `on` the nodes (see `by_row`) that let `spec` in; None: `most` were not enough."""
    found = (_on_engine(field, replace(spec, engine=engine), on, most, cost) for engine in _engines(field, spec))
    reliefs = [relief for relief in found if relief is not None]
    return min(reliefs, key=lambda relief: (len(relief.moves), relief.lost), default=None)


def _engines(field: Field, spec: JobSpec) -> Sequence[str]:
    return [engine for engine in field.layout.engines if spec.engine in ("", engine)]


def by_row(field: Field, movable: Iterable[Job]) -> dict[int, list[Job]]:
    """Jobs by the row they are on. What runs on several nodes, or has one to itself, stays where it is."""
    on: dict[int, list[Job]] = {}
    for job in movable:
        if len(job.placements) == 1 and not job.spec.exclusive:
            for row in field.rows(job.engine, job.placements):
                on.setdefault(row, []).append(job)
    return on


def _on_engine(
    field: Field, spec: JobSpec, on: Mapping[int, Sequence[Job]], most: int, cost: Callable[[Job], float]
) -> Relief | None:
    """Node by node: what fits is taken, for what does not room is made. Whether all fits is asked at the end."""
    part = replace(spec, nodes=1, min_nodes=0, topology=Topology())
    parts: list[tuple[str, tuple[Placement, ...]]] = []
    moves: list[Moved] = []
    while len(parts) < spec.nodes:
        engine, placements = field.fit(part)
        if not placements:
            gone = {move.job.id for move in moves}
            found = _make_room(field, part, on, gone, most - len(moves), cost)
            if found is None:
                break
            moves += found
            engine, placements = field.fit(part)
        field.take(part, engine, placements)
        parts.append((engine, placements))
    for engine, placements in parts:
        field.give(part, engine, placements)
    engine, placements = field.fit(spec) if len(parts) == spec.nodes else ("", ())
    _undo(field, moves)
    if not placements:
        return None
    return Relief(tuple(moves), engine, placements, sum(cost(move.job) for move in moves))


def _make_room(
    field: Field,
    part: JobSpec,
    on: Mapping[int, Sequence[Job]],
    gone: set[int],
    most: int,
    cost: Callable[[Job], float],
) -> list[Moved] | None:
    """The best moves that let `part` in. They are made on `field`."""
    mobile = _with_somewhere_to_go(field, {row: on[row] for row in _near(field, part, on)}, gone)
    for count in range(1, most + 1):
        exchanges = _exchanges(field, part, on, gone, cost) if count == _EXCHANGE else ()
        ways = chain(exchanges, *(_ways(field, part, row, jobs, count, cost) for row, jobs in mobile.items()))
        best: tuple[tuple[float, float], list[Moved]] | None = None
        for way in nsmallest(_TRIES, ways, key=lambda way: (way.lost, way.size)):
            tried = _tried(field, part, way)
            if tried is not None:
                rank = (way.lost, -tried[0])
                best = min(best, (rank, tried[1]), key=lambda one: one[0]) if best else (rank, tried[1])
        if best:
            for move in best[1]:
                field.give(move.job.spec, move.job.engine, move.job.placements)
                field.take(move.job.spec, move.engine, move.placements)
            return best[1]
    return None


def _with_somewhere_to_go(field: Field, on: Mapping[int, Sequence[Job]], gone: set[int]) -> dict[int, list[Job]]:
    """Those of the jobs that would fit on some node as things are, but for those that are `gone`."""
    fits: dict[Shape, bool] = {}

    def has_room(job: Job) -> bool:
        shape = shape_of(job.spec)
        if shape not in fits:
            fits[shape] = field.fits(job.spec)
        return fits[shape]

    return {row: [job for job in jobs if job.id not in gone and has_room(job)] for row, jobs in on.items()}


def _exchanges(
    field: Field,
    part: JobSpec,
    on: Mapping[int, Sequence[Job]],
    gone: set[int],
    cost: Callable[[Job], float],
) -> Iterator[_Way]:
    """Pairs such that `part` and the second fit on the device of the first, and the first on that of the second."""
    need = part.resources
    if need.accelerators != 1 or need.milli == WHOLE or part.exclusive:
        return
    seats = _seats(field, on, gone, cost)
    if not seats:
        return
    row = np.array([seat.row for seat in seats])
    milli, cpus = np.array([(seat.need.milli, seat.need.cpus) for seat in seats]).T
    device, free = np.array([seat.free + seat.need.milli for seat in seats]), field.cpus[row] + cpus
    lost = np.array([seat.lost for seat in seats])
    admitted, accepted = field.open_to(part)
    usable = admitted[row] & accepted[[seat.model for seat in seats]]
    pairs = usable[:, None] & (row[:, None] != row)
    pairs &= (device[:, None] >= need.milli + milli) & (free[:, None] >= need.cpus + cpus)
    pairs &= (device >= milli[:, None]) & (free >= cpus[:, None])
    first, second = np.nonzero(pairs)
    size = 1000 * (milli[first] + milli[second]) + cpus[first] + cpus[second]
    for at in np.lexsort((size, lost[first] + lost[second]))[:_TRIES]:
        one, other = seats[first[at]], seats[second[at]]
        yield _Way((one.job, other.job), one.lost + other.lost, int(size[at]))


class _Seat(NamedTuple):
    """A job that shares a device."""

    job: Job
    row: int
    model: int  # of the device
    free: int  # thousandths of it that are free beside the job
    lost: float

    @property
    def need(self) -> Resources:
        return self.job.spec.resources


def _seats(
    field: Field, on: Mapping[int, Sequence[Job]], gone: set[int], cost: Callable[[Job], float]
) -> list[_Seat]:
    """Of those that ask for the same beside as much that is free, on nodes that admit the same, the cheapest on
    each of two nodes; the nodes with most CPUs free, where all are as cheap."""
    layout = field.layout
    admit, _ = layout.kinds
    kinds: dict[tuple[object, ...], dict[int, _Seat]] = {}
    for row, jobs in on.items():
        columns = layout.columns[row]
        for job in jobs:
            need, devices = job.spec.resources, job.placements[0].devices
            if need.milli == WHOLE or len(devices) != 1 or devices[0] not in columns or job.id in gone:
                continue
            column = columns[devices[0]]
            seat = _Seat(job, row, int(layout.model[row, column]), int(field.free[row, column]), cost(job))
            by_row = kinds.setdefault((shape_of(job.spec), seat.model, seat.free, admit[row]), {})
            if row not in by_row or seat.lost < by_row[row].lost:
                by_row[row] = seat

    def rank(seat: _Seat) -> tuple[float, float]:
        return seat.lost, -float(field.cpus[seat.row])

    two = (seat for by_row in kinds.values() for seat in nsmallest(2, by_row.values(), key=rank))
    return nsmallest(_SEATS, two, key=rank)


def _near(field: Field, part: JobSpec, on: Mapping[int, Sequence[Job]]) -> list[int]:
    """Rows with jobs to move on which `part` could run, those that lack fewest devices and then CPUs first."""
    need, layout = part.resources, field.layout
    admitted, accepted = field.open_to(part)
    rows = np.array([row for row in sorted(on) if admitted[row]], dtype=np.int64)
    usable = accepted[layout.model[rows]]
    rows = rows[(usable.sum(axis=1) >= need.accelerators) & (layout.cpus[rows] >= need.cpus)]
    usable, free = accepted[layout.model[rows]], field.free[rows]
    lacking = np.maximum(0, need.accelerators - (usable & (free >= need.milli)).sum(axis=1))
    cpus = np.maximum(0, need.cpus - field.cpus[rows])
    held = np.where(usable, WHOLE - free, 0).sum(axis=1)
    order = np.lexsort((held, cpus, lacking))[:_NODES]
    return [int(row) for row in rows[order]]


def _ways(
    field: Field, part: JobSpec, row: int, jobs: Sequence[Job], count: int, cost: Callable[[Job], float]
) -> Iterator[_Way]:
    """Each set of `count` of the `jobs` on `row` without which `part` fits there."""
    node = _Node(field, row, part)
    loads = {job.id: node.load(job) for job in jobs}
    for chosen in islice(combinations(jobs, count), _WAYS):
        if node.fits_without([loads[job.id] for job in chosen]):
            size = sum(sum(loads[job.id].devices.values()) for job in chosen) * 1000
            size += sum(job.spec.resources.cpus for job in chosen)
            yield _Way(chosen, sum(map(cost, chosen)), size)


@dataclass(frozen=True)
class _Load:
    cpus: float
    memory: float
    devices: Mapping[int, int]  # column -> thousandths


class _Node:
    """One row in plain numbers: thousands of sets of jobs are tried on it."""

    def __init__(self, field: Field, row: int, part: JobSpec) -> None:
        layout, need = field.layout, part.resources
        _, accepted = field.open_to(part)
        self._field, self._row, self._need, self._exclusive = field, row, need, part.exclusive
        self._cpus = float(field.cpus[row])
        self._memory = float(field.room.memory[row])
        self._slots = int(field.room.slots[row])
        self._memory_wanted = need.memory or float(layout.ration[row]) * max(1, need.cpus)
        self._whole_cpus = float(layout.cpus[row])
        self._free = {
            column: (int(model), int(field.free[row, column]))
            for column, model in enumerate(layout.model[row])
            if model and (accepted[model] or part.exclusive)
        }

    def load(self, job: Job) -> _Load:
        need, layout = job.spec.resources, self._field.layout
        columns = layout.columns[self._row]
        held = {columns[index]: need.milli for index in job.placements[0].devices if index in columns}
        return _Load(need.cpus, need.memory or float(layout.ration[self._row]) * max(1, need.cpus), held)

    def fits_without(self, loads: Sequence[_Load]) -> bool:
        need = self._need
        cpus = self._cpus + sum(load.cpus for load in loads)
        if cpus < need.cpus or self._memory + sum(load.memory for load in loads) < self._memory_wanted:
            return False
        if self._slots + len(loads) < 1:
            return False
        back: dict[int, int] = {}
        for load in loads:
            for column, milli in load.devices.items():
                back[column] = back.get(column, 0) + milli
        free = [(model, milli + back.get(column, 0)) for column, (model, milli) in self._free.items()]
        if self._exclusive:
            return cpus == self._whole_cpus and all(milli >= WHOLE for _, milli in free)
        able: dict[int, int] = {}
        for model, milli in free:
            if milli >= need.milli:
                able[model] = able.get(model, 0) + 1
        return not need.accelerators or max(able.values(), default=0) >= need.accelerators


def _tried(field: Field, part: JobSpec, way: _Way) -> tuple[float, list[Moved]] | None:
    """What the pool gains in worth, and the moves; None where one of the jobs fits nowhere else."""
    before = field.worth()
    jobs = sorted(way.jobs, key=_largest_first)
    for job in jobs:
        field.give(job.spec, job.engine, job.placements)
    engine, placements = field.fit(part)
    field.take(part, engine, placements)
    moves = list(_placed(field, jobs)) if placements else []
    gained = field.worth() - before
    field.give(part, engine, placements)
    _undo(field, moves)
    for job in jobs[len(moves) :]:
        field.take(job.spec, job.engine, job.placements)
    return (gained, moves) if len(moves) == len(jobs) else None


def _largest_first(job: Job) -> tuple[int, int, float]:
    need = job.spec.resources
    return -need.accelerators, -need.milli, -need.cpus


def _placed(field: Field, jobs: Iterable[Job]) -> Iterator[Moved]:
    """Each of `jobs` where it fits, up to the first one that does not."""
    for job in jobs:
        engine, placements = field.fit(job.spec)
        if not placements:
            return
        field.take(job.spec, engine, placements)
        yield Moved(job, engine, placements)


def _undo(field: Field, moves: Iterable[Moved]) -> None:
    for move in moves:
        field.give(move.job.spec, move.engine, move.placements)
        field.take(move.job.spec, move.job.engine, move.job.placements)
