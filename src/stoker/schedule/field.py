"""Field: all nodes of the pool side by side in arrays, and the best place for a job among them.

Jobs come in few shapes, and a placement changes one node. So each shape keeps the score it gave every node, and
only nodes that have changed since it was last asked for are looked at again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from stoker.cluster import WHOLE, Node, Place
from stoker.engine_config import LOCAL
from stoker.foreign import ForeignJob, Held
from stoker.job import Job, JobSpec, Placement, Resources
from stoker.schedule.layout import Bools, Floats, Ints, Layout, layout_of
from stoker.schedule.mix import Mix, usual_mix
from stoker.schedule.worth import Worth, worth_of

_GRAIN = 10.0  # thousandths: losses that differ by less are equal, and the first node wins: it fills up
_NEVER = -np.inf

# What decides where a job fits: what it asks for and where it may go.
Shape = tuple[Resources, bool, str, tuple[str, ...], tuple[str, ...], bool]


@dataclass
class _Scores:
    """What a shape thinks of every node."""

    admitted: Bools  # whether the job may be there at all, whatever is free
    accepted: Bools  # models by number: those whose devices it may take
    score: Floats  # minus the loss of worth; -inf where it does not fit now
    chosen: Ints  # model of the devices it would take
    first: Ints  # column of the device, for a share of one
    seen: int = -1  # length of the log when it last looked; -1: never


class Field:
    """Free CPUs, memory and device thousandths of every node. Changes as jobs are put in and taken out.

    A machine that belongs to two engines is one machine: what is held through one is not free through the other.
    """

    def __init__(self, layout: Layout, worth: Worth) -> None:
        self.layout = layout
        self._worth = worth
        self.cpus = layout.cpus.copy()
        self.memory = layout.memory.copy()
        self.slots = layout.slots.copy()
        self.free = layout.whole()
        self._value = worth.of(self.cpus, layout.model, self.free)
        self._log: list[int] = []  # rows that have changed, in order
        self._scores: dict[Shape, _Scores] = {}

    @classmethod
    def empty(cls, nodes: Iterable[Node]) -> Field:
        """Nodes on which nothing runs, whatever their state: for what could ever fit."""
        layout = layout_of(replace(node, schedulable=True) for node in nodes)
        return cls(layout, worth_of(usual_mix(), layout.models))

    def copy(self) -> Field:
        twin = object.__new__(Field)
        twin.__dict__.update(self.__dict__, _log=[], _scores={})
        for name in ("cpus", "memory", "slots", "free", "_value"):
            setattr(twin, name, getattr(self, name).copy())
        return twin

    def meet(self, other: Field) -> Field:
        """What is free in both; they are of the same layout."""
        both = self.copy()
        for name in ("cpus", "memory", "slots", "free"):
            setattr(both, name, np.minimum(getattr(self, name), getattr(other, name)))
        both._revalue(np.arange(len(self.layout.nodes)))  # noqa: SLF001 - it is one of us
        return both

    def least_of(self, one: Field, other: Field, engine: str, placements: Iterable[Placement]) -> None:
        """Be what is free in both again, where these placements are: they have changed one of them."""
        for placement in placements:
            for row in self._rows(engine, placement.node):
                for name in ("cpus", "memory", "slots", "free"):
                    getattr(self, name)[row] = np.minimum(getattr(one, name)[row], getattr(other, name)[row])
                self._changed(row)

    # what is held

    def take(self, spec: JobSpec, engine: str, placements: Iterable[Placement]) -> None:
        self._change(spec, engine, placements, -1)

    def give(self, spec: JobSpec, engine: str, placements: Iterable[Placement]) -> None:
        self._change(spec, engine, placements, 1)

    def take_foreign(self, other: ForeignJob) -> None:
        for held in other.held:
            for row in self._rows(other.engine, held.node):
                self._take_held(row, held)

    def _change(self, spec: JobSpec, engine: str, placements: Iterable[Placement], sign: int) -> None:
        for placement in placements:
            for row in self._rows(engine, placement.node):
                self._change_row(row, spec, placement, sign)

    def _change_row(self, row: int, spec: JobSpec, placement: Placement, sign: int) -> None:
        need, node, columns = spec.resources, self.layout.nodes[row], self.layout.columns[row]
        cpus, devices, milli = need.cpus, placement.devices, need.milli
        memory = need.memory or self.layout.ration[row] * max(1, need.cpus)
        if spec.exclusive:
            cpus, memory, devices, milli = node.cpus, node.memory, tuple(columns), WHOLE
        self.cpus[row] += sign * cpus
        self.memory[row] += sign * memory
        self.slots[row] += sign
        for device in devices:
            column = columns.get(device)
            if column is not None and self.layout.model[row, column]:  # it may have failed since
                self.free[row, column] += sign * milli
        self._changed(row)

    def _take_held(self, row: int, held: Held) -> None:
        """What somebody else's job holds. Of devices that its engine does not name, the freest count as held."""
        self.cpus[row] -= held.cpus
        self.memory[row] -= held.memory
        self.slots[row] -= 1
        columns = [self.layout.columns[row][index] for index in held.indexes if index in self.layout.columns[row]]
        if not held.indexes:
            columns = [int(column) for column in np.argsort(-self.free[row], kind="stable")[: held.devices]]
        self.free[row, columns] = 0
        self._changed(row)

    def _rows(self, engine: str, node: str) -> tuple[int, ...]:
        row = self.layout.row.get(Place(engine, node))
        return () if row is None else self.layout.twins[row]

    def _changed(self, row: int) -> None:
        self._log.append(row)
        self._revalue(np.array([row]))

    def _revalue(self, rows: Ints) -> None:
        self._value[rows] = self._worth.of(self.cpus[rows], self.layout.model[rows], self._usable(rows))

    def _usable(self, rows: Ints) -> Ints:
        """Thousandths free; none where more is held than there is, as when a device failed or others overbook."""
        usable: Ints = np.maximum(self.free[rows], 0)
        return usable

    # where a job would go

    def fit(self, spec: JobSpec) -> tuple[str, tuple[Placement, ...]]:
        """An engine and a placement on each of `spec.nodes` of its nodes; no placements when there are none now.

        Engines in their order; among the nodes of one those that lose least of their worth.
        """
        scores = self._scored(spec)
        for engine, rows in self.layout.engines.items():
            score = scores.score[rows]
            best = _best(score, spec.nodes)
            if best is not None:
                return engine, tuple(self._placement(int(rows[at]), spec, scores) for at in best)
        return "", ()

    def touched(self) -> list[Node]:
        """The nodes of which something is held."""
        untouched = self._untouched(np.arange(len(self.layout.nodes)))
        return [self.layout.nodes[row] for row in np.flatnonzero(~untouched)]

    def fitting(self, spec: JobSpec) -> list[Node]:
        """The nodes on which one node's part of the job fits now."""
        return [self.layout.nodes[row] for row in np.flatnonzero(self._scored(spec).score > _NEVER)]

    def _placement(self, row: int, spec: JobSpec, scores: _Scores) -> Placement:
        need, indexes = spec.resources, self.layout.indexes[row]
        if not need.accelerators:
            return Placement(self.layout.nodes[row].name)
        if need.accelerators == 1 and need.milli < WHOLE:
            return Placement(self.layout.nodes[row].name, (indexes[scores.first[row]],))
        usable = (self.layout.model[row] == scores.chosen[row]) & (self.free[row] >= need.milli)
        columns = np.flatnonzero(usable)
        tightest = columns[np.argsort(self.free[row, columns], kind="stable")][: need.accelerators]
        return Placement(self.layout.nodes[row].name, tuple(sorted(indexes[column] for column in tightest)))

    def _scored(self, spec: JobSpec) -> _Scores:
        shape: Shape = (
            spec.resources,
            spec.exclusive,
            spec.engine,
            spec.sites,
            spec.tolerations,
            away_from_here(spec),
        )
        scores = self._scores.get(shape)
        if scores is None:
            scores = self._scores[shape] = self._unscored(spec)
        rows = (
            np.arange(len(self.layout.nodes)) if scores.seen < 0 else np.array(sorted({*self._log[scores.seen :]}))
        )
        scores.seen = len(self._log)
        if len(rows):
            self._score(spec, scores, rows[scores.admitted[rows]])
        return scores

    def _unscored(self, spec: JobSpec) -> _Scores:
        nodes = self.layout.nodes
        wanted = {model.lower() for model in spec.resources.models}
        accepted = [False, *(not wanted or name in wanted for name in self.layout.models)]
        return _Scores(
            admitted=np.array([node.schedulable and admits(node, spec) for node in nodes], dtype=np.bool_),
            accepted=np.array(accepted),
            score=np.full(len(nodes), _NEVER),
            chosen=np.zeros(len(nodes), dtype=np.int64),
            first=np.zeros(len(nodes), dtype=np.int64),
        )

    def _score(self, spec: JobSpec, scores: _Scores, rows: Ints) -> None:
        need = spec.resources
        scores.score[rows] = _NEVER
        memory = need.memory or self.layout.ration[rows] * max(1, need.cpus)
        room = (self.cpus[rows] >= need.cpus) & (self.memory[rows] >= memory) & (self.slots[rows] >= 1)
        if spec.exclusive:
            room &= self._untouched(rows)
        rows = rows[room]
        if not len(rows):
            return
        if not self.layout.mixed.any():
            self._score_devices(spec, scores, rows, scores.accepted)
            return
        mixed = self.layout.mixed[rows]
        self._score_devices(spec, scores, rows[~mixed], scores.accepted)
        for model in np.flatnonzero(scores.accepted):
            alone = np.arange(len(scores.accepted)) == model
            self._score_devices(spec, scores, rows[mixed], alone)

    def _untouched(self, rows: Ints) -> Bools:
        all_free = (self.free[rows] == np.where(self.layout.model[rows] > 0, WHOLE, 0)).all(axis=1)
        idle: Bools = np.logical_and(self.cpus[rows] == self.layout.cpus[rows], all_free)
        return idle

    def _score_devices(self, spec: JobSpec, scores: _Scores, rows: Ints, accepted: Bools) -> None:
        """Score `rows` for their devices of the `accepted` models; a better score that they have stays."""
        need = spec.resources
        fits, first, after = self._after(need, rows, accepted)
        if not fits.all():
            rows, first, after = rows[fits], first[fits], after[fits]
        if not len(rows):
            return
        left = self._worth.of(self.cpus[rows] - need.cpus, self.layout.model[rows], after)
        score = np.rint((left - self._value[rows]) / _GRAIN) if not spec.exclusive else -self._value[rows]
        better = score > scores.score[rows]
        if not better.all():
            rows, score, first = rows[better], score[better], first[better]
        scores.score[rows] = score
        scores.chosen[rows] = self.layout.main[rows] if accepted.sum() != 1 else accepted.argmax()
        scores.first[rows] = first

    def _after(self, need: Resources, rows: Ints, accepted: Bools) -> tuple[Bools, Ints, Ints]:
        """Whether it fits, on which device (for a share of one), and the thousandths free afterwards."""
        free = self._usable(rows)
        none = np.zeros(len(rows), dtype=np.int64)
        if not need.accelerators:
            return np.ones(len(rows), dtype=np.bool_), none, free
        able = accepted[self.layout.model[rows]] & (free >= need.milli)
        if need.accelerators == 1 and need.milli < WHOLE:
            return self._share(need, rows, free, able)
        order = np.argsort(np.where(able, free, 2 * WHOLE), axis=1, kind="stable")[:, : need.accelerators]
        taken = np.take_along_axis(free, order, axis=1) - need.milli
        fits: Bools = able.sum(axis=1) >= need.accelerators
        np.put_along_axis(free, order, np.maximum(taken, 0), axis=1)
        return fits, none, free

    def _share(self, need: Resources, rows: Ints, free: Ints, able: Bools) -> tuple[Bools, Ints, Ints]:
        """The device whose use for this share loses least, by node."""
        at, column = np.nonzero(able)
        tries = free[at]
        tries[np.arange(len(at)), column] -= need.milli
        worth = np.full(free.shape, _NEVER)
        models = self.layout.model[rows]
        worth[at, column] = self._worth.of(self.cpus[rows[at]] - need.cpus, models[at], tries)
        best = np.rint(worth / _GRAIN).argmax(axis=1) if len(at) else np.zeros(len(rows), dtype=np.int64)
        after = free.copy()
        after[np.arange(len(rows)), best] -= need.milli
        fits: Bools = np.asarray(able.any(axis=1))
        return fits, best, np.maximum(after, 0)


def field_of(
    nodes: Iterable[Node], active: Iterable[Job], others: Iterable[ForeignJob] = (), mix: Mix | None = None
) -> Field:
    """Free room, with what `active` jobs and those of others hold taken out; `mix` is what is likely to come."""
    layout = layout_of(nodes)
    field = Field(layout, worth_of(mix or usual_mix(), layout.models))
    for job in active:
        field.take(job.spec, job.engine, job.placements)
    for other in others:
        field.take_foreign(other)
    return field


def admits(node: Node, spec: JobSpec) -> bool:
    """Whether the job may be on this node at all, whatever is free there."""
    return (
        (not spec.engine or spec.engine == node.engine)
        and (not spec.sites or node.site in spec.sites)
        and all(taint in spec.tolerations for taint in node.taints)
        and not (node.engine == LOCAL and away_from_here(spec))
    )


def away_from_here(spec: JobSpec) -> bool:
    """Whether it asks for what the platform's own machine does not have: images and reservations."""
    return bool(spec.image or spec.reservation)


def acceptable(model: str, need: Resources) -> bool:
    return not need.models or model.lower() in (wanted.lower() for wanted in need.models)


def _best(score: Floats, count: int) -> Ints | None:
    """Where the `count` highest scores are, the first ones on ties; None when fewer fit."""
    if count == 1:
        at = score.argmax() if len(score) else 0
        return np.array([at]) if len(score) and score[at] > _NEVER else None
    fitting = np.flatnonzero(score > _NEVER)
    if len(fitting) < count:
        return None
    chosen: Ints = np.sort(fitting[np.argsort(-score[fitting], kind="stable")[:count]])
    return chosen
