"""Why a queue holds less than it wants of its right, from pass to pass: for `benchmarks/fairness.py --causes`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from stoker.job import Job, JobState
from stoker.schedule import Plan, Snapshot

GRACE = "its room is being made"
KEPT = "kept for an overdue job of its own"
LARGER = "all that waits is larger than what is left of the right"
OWED = "what others hold beyond is owed to them"
NODES = "enough is free or borrowed, but not where it is needed"
TAKEN = "others hold no more than their rights"
BEYOND = "held beyond the right"


class Span(NamedTuple):
    """`devices` that were missing from `begin` to `end`; below zero those beyond the right."""

    begin: float
    end: float
    devices: float
    cause: str


class Causes:
    """`Settings.seen`; times count from `origin`."""

    def __init__(self, deserved: Mapping[str, float], origin: float) -> None:
        self._deserved, self._origin = deserved, origin
        self._last: tuple[float, Mapping[str, tuple[float, str]]] | None = None
        self.spans: dict[str, list[Span]] = {name: [] for name in deserved}

    def __call__(self, snapshot: Snapshot, plan: Plan) -> None:
        now = snapshot.now - self._origin
        if self._last is not None and now > self._last[0]:
            for name, (devices, cause) in self._last[1].items():
                self.spans[name].append(Span(self._last[0], now, devices, cause))
        self._last = now, self._short(snapshot, plan)

    def between(self, name: str, begin: float, end: float) -> Mapping[str, float]:
        """Device-seconds by cause."""
        found: dict[str, float] = defaultdict(float)
        for span in self.spans[name]:
            found[span.cause] += span.devices * max(0.0, min(span.end, end) - max(span.begin, begin))
        return found

    def _short(self, snapshot: Snapshot, plan: Plan) -> Mapping[str, tuple[float, str]]:
        held: dict[str, float] = defaultdict(float)
        for job in (*snapshot.active, *(start.job for start in plan.starts)):
            held[job.spec.queue] += _devices(job)
        started = {start.job.id for start in plan.starts}
        waiting: dict[str, list[Job]] = defaultdict(list)
        for job in snapshot.pending:
            if job.id not in started:
                waiting[job.spec.queue].append(job)
        found: dict[str, tuple[float, str]] = {}
        for name, deserved in self._deserved.items():
            short = min(deserved, held[name] + sum(map(_devices, waiting[name]))) - held[name]
            if short < 0:
                found[name] = short, BEYOND
            elif short > 0:
                found[name] = short, self._cause(name, waiting[name], held, snapshot, plan)
        return found

    def _cause(
        self, name: str, waiting: Sequence[Job], held: Mapping[str, float], snapshot: Snapshot, plan: Plan
    ) -> str:
        going = {job.gives_way_to for job in snapshot.active if job.state is JobState.STOPPING}
        going |= {one.job.id for one in plan.preempts} | {one.room_for.id for one in plan.moves}
        if any(job.id in going for job in waiting):
            return GRACE
        fitting = [job for job in waiting if _devices(job) <= self._deserved[name] - held[name]]
        if not fitting:
            return LARGER
        if all("waited too long" in plan.waits[job.id].message for job in fitting):
            return KEPT
        free = sum(len(node.devices) for node in snapshot.nodes) - sum(held.values())
        beyond = {other: max(0.0, held[other] - deserved) for other, deserved in self._deserved.items()}
        least = min(map(_devices, fitting))
        if free + sum(lent for other, lent in beyond.items() if not snapshot.credit.get(other)) >= least:
            return NODES
        return OWED if free + sum(beyond.values()) >= least else TAKEN


def _devices(job: Job) -> float:
    return float(job.spec.nodes * job.spec.resources.accelerators)
