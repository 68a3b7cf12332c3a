"""Field: all nodes of the pool side by side in arrays, and the best place for a job among them.

Jobs come in few shapes, and a placement changes one node. So each shape keeps the score it gave every node, and
only nodes that have changed since it was last asked for are looked at again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from stoker.cluster import WHOLE, Node, accepts
from stoker.engine_config import LOCAL
from stoker.foreign import ForeignJob
from stoker.job import JobKind, JobSpec, Placement, Resources
from stoker.schedule.domains import TOLERATES_DEGRADED, allowed, asks_within, choose, pick
from stoker.schedule.layout import Bools, Floats, Ints, Layout, layout_of
from stoker.schedule.log import NEVER, Log
from stoker.schedule.mix import usual_mix
from stoker.schedule.room import Room
from stoker.schedule.speed import Speeds, slower
from stoker.schedule.worth import Worth, worth_of

_GRAIN = 10.0  # thousandths: losses that differ by less are equal, and the first node wins: it fills up
_NOWHERE = -np.inf
_FEW = 16  # rows that are looked at one by one: numpy takes as long for one of them as for hundreds
_MOST_SCORES = 4_000_000  # of a node by a shape, 13 bytes each

# What decides where a job fits: what it asks for and where it may go.
Shape = tuple[Resources, JobKind, bool, str, tuple[str, ...], tuple[str, ...], bool]


def shape_of(spec: JobSpec) -> Shape:
    return (
        spec.resources,
        spec.kind if len(spec.resources.models) > 1 else JobKind.TASK,  # it matters for the speed alone
        spec.exclusive,
        spec.engine,
        spec.sites,
        spec.tolerations,
        away_from_here(spec),
    )


@dataclass
class _Scores:
    """What a shape thinks of every node."""

    spec: JobSpec  # one of this shape
    admitted: Bools  # whether the job may be there at all, whatever is free
    accepted: Bools  # models by number: those whose devices it may take
    score: Floats  # minus the loss of worth; -inf where it does not fit now
    chosen: Ints  # model of the devices it would take
    first: Ints  # column of the device, for a share of one
    slower: Floats | None = None  # by model, the thousandths that the job loses by its speed
    seen: int = NEVER  # the log's mark when it last looked

    def copy(self) -> _Scores:
        return replace(self, score=self.score.copy(), chosen=self.chosen.copy(), first=self.first.copy())


class Field:
    """Free CPUs, memory and device thousandths of every node. Changes as jobs are put in and taken out.

    A machine that belongs to two engines is one machine: what is held through one is not free through the other.
    """

    def __init__(self, layout: Layout, worth: Worth, room: Room | None = None) -> None:
        self.layout = layout
        self.room = room or Room.of(layout)
        self.log = Log(len(layout.nodes))
        self._worth = worth
        self._used = np.zeros(len(layout.nodes))  # thousandths that will be used, were there CPUs enough
        self._wanted = np.zeros(len(layout.nodes))  # CPUs that this takes
        self._value = np.zeros(len(layout.nodes))
        self._valued = NEVER  # the log's mark when the worth was last reckoned
        self._speeds: Speeds = {}
        self._scores: dict[Shape, _Scores] = {}
        self._elder: tuple[Log, int, dict[Shape, _Scores]] | None = None  # whose scores a copy goes on with

    @classmethod
    def empty(cls, nodes: Iterable[Node]) -> Field:
        """Nodes on which nothing runs, whatever their state: for what could ever fit."""
        layout = layout_of(replace(node, schedulable=True) for node in nodes)
        return cls(layout, worth_of(usual_mix(), layout.models))

    @property
    def cpus(self) -> Floats:
        return self.room.cpus

    @property
    def free(self) -> Ints:
        """[row, column] thousandths."""
        return self.room.free

    def copy(self) -> Field:
        """A field of the same room. What the shapes think of its nodes is taken over when it is asked for."""
        self._reckon()
        twin = object.__new__(Field)
        log = Log(len(self.layout.nodes))
        elder = (self.log, self.log.end, self._scores)
        fresh = {"room": self.room.copy(), "log": log, "_valued": log.end, "_scores": {}, "_elder": elder}
        twin.__dict__.update(self.__dict__, **fresh)
        for name in ("_used", "_wanted", "_value"):
            setattr(twin, name, getattr(self, name).copy())
        return twin

    def meet(self, other: Field) -> Field:
        """What is free in both; they are of the same layout."""
        both = self.copy()
        different = np.zeros(len(self.layout.nodes), dtype=np.bool_)
        for mine, its in zip(self.room.arrays(), other.room.arrays(), strict=True):
            more = mine > its
            different |= more if more.ndim == 1 else more.any(axis=1)
        both.least_of(self, other, np.flatnonzero(different).tolist())
        return both

    def least_of(self, one: Field, other: Field, rows: Sequence[int]) -> None:
        """What is free in both, in these rows."""
        self.room.least_of(one.room, other.room, np.array(rows, dtype=np.int64))
        self.log.note(rows)

    def adopt(self, room: Room, rows: Ints) -> None:
        """Have the room that is given in these rows."""
        self.room.adopt(room, rows)
        self.log.note(rows.tolist())

    def renew(self, layout: Layout, rows: Ints) -> None:
        """Go on with another layout, whose nodes differ in these rows. Their room is as before: see `adopt`."""
        self.layout = self.room.layout = layout
        self.log.note(rows.tolist())
        for scores in self._scores.values():
            scores.admitted[rows] = [_may_hold(layout.nodes[row], scores.spec) for row in rows]

    def rework(self, worth: Worth) -> None:
        """Other jobs are likely to come."""
        self._worth = worth
        self._valued = NEVER
        for scores in self._scores.values():
            scores.seen = NEVER

    def tidy(self) -> None:
        """Forget what the shapes think when they are so many that it takes too much memory."""
        if len(self._scores) * len(self.layout.nodes) > _MOST_SCORES:
            self._scores.clear()

    def expect(self, speeds: Speeds) -> None:
        """How fast jobs are expected to be on each model, for those that may go to several."""
        if speeds != self._speeds:
            self._speeds = speeds
            self._scores.clear()

    # what is held

    def take(self, spec: JobSpec, engine: str, placements: Iterable[Placement]) -> None:
        self._change(spec, engine, placements, -1)

    def give(self, spec: JobSpec, engine: str, placements: Iterable[Placement]) -> None:
        self._change(spec, engine, placements, 1)

    def rows(self, engine: str, placements: Iterable[Placement]) -> list[int]:
        """The rows that these placements touch."""
        return [row for row, _ in self.room.rows(engine, placements)]

    def take_foreign(self, other: ForeignJob) -> None:
        for held in other.held:
            for row, _ in self.room.rows(other.engine, (Placement(held.node),)):
                self.room.take_held(row, held)
                self.log.note((row,))

    def _change(self, spec: JobSpec, engine: str, placements: Iterable[Placement], sign: int) -> None:
        for row, placement in self.room.rows(engine, placements):
            self.room.change(row, spec, placement, sign)
            self.log.note((row,))

    # where a job would go

    def fit(self, spec: JobSpec) -> tuple[str, tuple[Placement, ...]]:
        """An engine and a placement on each of `spec.nodes` of its nodes; no placements when there are none now.

        Engines in their order, but for speed; among the nodes of one those that lose least of their worth, as close
        together as `domains` says.
        """
        scores = self._scored(spec)
        for score in self._considered(spec, scores):
            for engine in self._in_turn(scores, score):
                rows = self.layout.engines[engine]
                best = choose(score[rows], rows, spec.nodes, spec.topology, self.layout.levels)
                if best is not None:
                    return engine, tuple(self._placement(int(row), spec, scores) for row in best)
        return "", ()

    def fits(self, spec: JobSpec) -> bool:
        """Whether `fit` finds a place; quicker, as nothing is scored where little has changed."""
        scores = self._known(spec)
        rows = self.log.since(scores.seen)
        if len(rows) > _FEW or not _plain(spec, scores):
            return bool(self.fit(spec)[1])
        able = scores.score > _NOWHERE
        for row in rows.tolist():
            able[row] = self._holds(row, spec, scores)
        return any(np.count_nonzero(able[rows]) >= spec.nodes for rows in self.layout.engines.values())

    def _holds(self, row: int, spec: JobSpec, scores: _Scores) -> bool:
        """Whether one node's part of a plain job fits on that row now."""
        need, room, layout = spec.resources, self.room, self.layout
        memory = need.memory or layout.ration[row] * max(1, need.cpus)
        if not scores.admitted[row] or room.cpus[row] < need.cpus or room.memory[row] < memory:
            return False
        if room.slots[row] < 1 or (spec.exclusive and not room.untouched(np.array([row]))[0]):
            return False
        models = layout.rows_of_models[row]
        able = [model for model, free in zip(models, room.free[row].tolist(), strict=True) if free >= need.milli]
        return any(scores.accepted[model] and able.count(model) >= need.accelerators for model in set(able))

    def _in_turn(self, scores: _Scores, score: Floats) -> Iterable[str]:
        """Engines in their order; for a job that may be faster on one of them that one first."""
        engines = self.layout.engines
        if scores.slower is None or len(engines) < 2:
            return engines
        return sorted(engines, key=lambda engine: -score[engines[engine]].max(initial=_NOWHERE))

    def open_to(self, spec: JobSpec) -> tuple[Bools, Bools]:
        """Where one node's part may be at all, whatever is free, by row; and of which models, by number."""
        scores = self._scored(spec)
        return scores.admitted, scores.accepted

    def missing(self, spec: JobSpec) -> int:
        """Thousandths of devices that it asks for beyond all that are free: as long as there are any, it fits
        nowhere, however others move. Where machines are shared by engines nothing is said, that is 0."""
        need = spec.resources
        asked = spec.nodes * need.accelerators * need.milli
        return 0 if self.layout.shared else max(0, asked - int(np.maximum(self.free, 0).sum()))

    def worth(self) -> float:
        """What all free room is worth together."""
        self._reckon()
        return float(self._value.sum())

    def touched(self) -> list[Node]:
        """The nodes of which something is held."""
        untouched = self.room.untouched(np.arange(len(self.layout.nodes)))
        return [self.layout.nodes[row] for row in np.flatnonzero(~untouched)]

    def fitting(self, spec: JobSpec) -> list[Node]:
        """The nodes on which one node's part of the job fits now."""
        *_, score = self._considered(spec, self._scored(spec))
        return [self.layout.nodes[row] for row in np.flatnonzero(score > _NOWHERE)]

    def _considered(self, spec: JobSpec, scores: _Scores) -> Iterator[Floats]:
        """The scores, -inf where it should not go: first where it should, at last wherever it may."""
        levels, need = self.layout.levels, spec.resources.accelerators
        tolerant = TOLERATES_DEGRADED in spec.tolerations
        rows = levels.worn if need and not tolerant else levels.worn[:0]
        if asks_within(spec.topology, need):
            rows = np.arange(len(self.layout.nodes))
        rows = rows[scores.score[rows] > _NOWHERE]
        if not len(rows):
            yield from self._alike(spec, scores, scores.score)
            return
        of_model = self.layout.model[rows] == scores.chosen[rows, None]
        usable = of_model & (self.free[rows] >= spec.resources.milli)
        for fits in allowed(usable, need, rows, spec.topology, levels, tolerant=tolerant):
            score = scores.score.copy()
            score[rows[~fits]] = _NOWHERE
            yield from self._alike(spec, scores, score)

    def _alike(self, spec: JobSpec, scores: _Scores, score: Floats) -> Iterator[Floats]:
        """For a gang of several acceptable models first one after the other: it is as slow as its slowest node."""
        models = np.flatnonzero(scores.accepted)
        if spec.nodes > 1 and spec.resources.accelerators and len(models) > 1:
            best = {model: score[scores.chosen == model].max(initial=_NOWHERE) for model in models}
            for model in sorted((model for model in models if best[model] > _NOWHERE), key=lambda one: -best[one]):
                yield np.where(scores.chosen == model, score, _NOWHERE)
        yield score

    def fits_at(self, row: int, spec: JobSpec) -> bool:
        """Whether one node's part of the job fits on the node of that row now."""
        scores = self._known(spec)
        if _plain(spec, scores):
            return self._holds(row, spec, scores)
        *_, score = self._considered(spec, self._scored(spec))
        return bool(score[row] > _NOWHERE)

    def _placement(self, row: int, spec: JobSpec, scores: _Scores) -> Placement:
        need, indexes = spec.resources, self.layout.indexes[row]
        if not need.accelerators:
            return Placement(self.layout.nodes[row].name)
        tolerant = TOLERATES_DEGRADED in spec.tolerations
        levels, first = self.layout.levels, scores.first[row]
        if need.accelerators == 1 and need.milli < WHOLE and (tolerant or not levels.degraded[row, first]):
            return Placement(self.layout.nodes[row].name, (indexes[first],))
        free = self.free[row]
        usable = (self.layout.model[row] == scores.chosen[row]) & (free >= need.milli)
        columns = pick(np.flatnonzero(usable), need.accelerators, row, spec.topology, levels, tolerant=tolerant)
        tightest = columns[np.argsort(free[columns], kind="stable")][: need.accelerators]
        return Placement(self.layout.nodes[row].name, tuple(sorted(indexes[column] for column in tightest)))

    # what a job thinks of the nodes

    def _scored(self, spec: JobSpec) -> _Scores:
        scores = self._known(spec)
        rows = self.log.since(scores.seen)
        scores.seen = self.log.end
        if len(rows):
            self._reckon()
            scores.score[rows] = _NOWHERE
            self._score(scores, rows[scores.admitted[rows]])
        return scores

    def _known(self, spec: JobSpec) -> _Scores:
        """What was thought when the shape was last scored."""
        shape = shape_of(spec)
        scores = self._scores.get(shape)
        if scores is None:
            scores = self._scores[shape] = self._inherited(shape) or self._unscored(spec)
        return scores

    def _inherited(self, shape: Shape) -> _Scores | None:
        """What the field that this one was copied from thinks, but for rows that have changed there meanwhile."""
        if self._elder is None:
            return None
        log, copied_at, known = self._elder
        if (scores := known.get(shape)) is None:
            return None
        self.log.note(log.since(min(scores.seen, copied_at)).tolist())
        return replace(scores.copy(), seen=0)

    def _unscored(self, spec: JobSpec) -> _Scores:
        count = len(self.layout.nodes)
        kind, examples = self.layout.kinds
        may = np.array([_may_hold(node, spec) for node in examples], dtype=np.bool_)
        accepted = [False, *(accepts(spec.resources.models, name) for name in self.layout.models)]
        return _Scores(
            spec=spec,
            admitted=may[kind],
            accepted=np.array(accepted),
            score=np.full(count, _NOWHERE),
            chosen=np.zeros(count, dtype=np.int16),
            first=np.zeros(count, dtype=np.int16),
            slower=slower(spec, self.layout.models, accepted, self._speeds),
        )

    def _reckon(self) -> None:
        """The worth of the nodes that have changed since it was last reckoned."""
        rows = self.log.since(self._valued)
        self._valued = self.log.end
        if len(rows):
            used, wanted = self._worth.demand(self.layout.offset[rows] + self.room.usable(rows))
            self._used[rows], self._wanted[rows] = used, wanted
            self._value[rows] = self._worth.value(self.cpus[rows], used, wanted)

    def _score(self, scores: _Scores, rows: Ints) -> None:
        spec, layout = scores.spec, self.layout
        need = spec.resources
        memory = need.memory or layout.ration[rows] * max(1, need.cpus)
        room = self.room
        fits = (room.cpus[rows] >= need.cpus) & (room.memory[rows] >= memory) & (room.slots[rows] >= 1)
        if spec.exclusive:
            fits &= room.untouched(rows)
        rows = rows[fits]
        if not len(rows):
            return
        if not layout.mixed.any():
            self._score_devices(scores, rows, scores.accepted)
            return
        mixed = layout.mixed[rows]
        self._score_devices(scores, rows[~mixed], scores.accepted)
        for model in np.flatnonzero(scores.accepted):
            alone = np.arange(len(scores.accepted)) == model
            self._score_devices(scores, rows[mixed], alone)

    def _score_devices(self, scores: _Scores, rows: Ints, accepted: Bools) -> None:
        """Score `rows` for their devices of the `accepted` models; a better score that they have stays."""
        need = scores.spec.resources
        if need.accelerators == 0:
            first, left = None, self._left(need, rows, self._used[rows], self._wanted[rows])
        elif need.milli == WHOLE:
            rows, first, left = self._whole(need, rows, accepted)
        elif need.accelerators == 1:
            rows, first, left = self._share(need, rows, accepted)
        else:
            rows, first, left = self._shares(need, rows, accepted)
        if not len(rows):
            return
        score = -self._value[rows] if scores.spec.exclusive else np.rint((left - self._value[rows]) / _GRAIN)
        chosen = self.layout.main[rows] if accepted.sum() != 1 else np.full(len(rows), accepted.argmax())
        if scores.slower is not None:
            score = score - scores.slower[chosen] / (1.0 if scores.spec.exclusive else _GRAIN)
        better = score > scores.score[rows]
        scores.score[rows[better]] = score[better]
        scores.chosen[rows[better]] = chosen[better]
        if first is not None:
            scores.first[rows[better]] = first[better]

    def _left(self, need: Resources, rows: Ints, used: Floats, wanted: Floats) -> Floats:
        """The worth of `rows` with the job on them, from what their devices then will be used for."""
        return self._worth.value(self.cpus[rows] - need.cpus, used, wanted)

    def _whole(self, need: Resources, rows: Ints, accepted: Bools) -> tuple[Ints, None, Floats]:
        """The rows with enough devices that nobody uses, and their worth afterwards."""
        model = self.layout.model[rows]
        idle = (accepted[model] & (self.free[rows] >= WHOLE)).sum(axis=1)
        rows = rows[idle >= need.accelerators]
        kind = self.layout.main[rows] if accepted.sum() != 1 else accepted.argmax()
        used, wanted = self._worth.of_whole(kind)
        count = need.accelerators
        left = self._left(need, rows, self._used[rows] - count * used, self._wanted[rows] - count * wanted)
        return rows, None, left

    def _share(self, need: Resources, rows: Ints, accepted: Bools) -> tuple[Ints, Ints, Floats]:
        """The rows with a device that has so much left, that whose use loses least, and their worth afterwards."""
        free = self.room.usable(rows)
        at, column = np.nonzero(accepted[self.layout.model[rows]] & (free >= need.milli))
        if not len(at):
            none = np.zeros(0, dtype=np.int64)
            return none, none, np.zeros(0)
        row = rows[at]
        now = self.layout.offset[row, column] + free[at, column]
        used, wanted = self._worth.change(now, now - need.milli)
        left = self._left(need, row, self._used[row] + used, self._wanted[row] + wanted)
        begins = np.flatnonzero(np.diff(at, prepend=-1))  # each row's first device
        coarse = np.rint(left / _GRAIN)
        best = np.repeat(np.maximum.reduceat(coarse, begins), np.diff(begins, append=len(at)))
        hits = np.flatnonzero(coarse == best)
        chosen = hits[np.diff(at[hits], prepend=-1) > 0]  # the first one on ties
        return row[chosen], column[chosen], left[chosen]

    def _shares(self, need: Resources, rows: Ints, accepted: Bools) -> tuple[Ints, None, Floats]:
        """The same for shares of several devices: the fullest ones that have so much left."""
        free = self.room.usable(rows)
        able = accepted[self.layout.model[rows]] & (free >= need.milli)
        fits = able.sum(axis=1) >= need.accelerators
        rows, free, able = rows[fits], free[fits], able[fits]
        order = np.argsort(np.where(able, free, 2 * WHOLE), axis=1, kind="stable")[:, : need.accelerators]
        now = np.take_along_axis(self.layout.offset[rows] + free, order, axis=1)
        used, wanted = self._worth.change(now, now - need.milli)
        left = self._left(need, rows, self._used[rows] + used.sum(axis=1), self._wanted[rows] + wanted.sum(axis=1))
        return rows, None, left


def _plain(spec: JobSpec, scores: _Scores) -> bool:
    """Whether it fits wherever enough nodes have devices enough that are free."""
    wish = spec.topology
    return bool(spec.resources.accelerators) and not wish.required and not wish.spread and scores.slower is None


def _may_hold(node: Node, spec: JobSpec) -> bool:
    return node.schedulable and admits(node, spec)


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
    return accepts(need.models, model)
