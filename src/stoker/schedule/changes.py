"""Changes: what of a waiting job could be asked differently so that it starts now.

Each one is tried by deciding anew on the changed snapshot; what does not start the job is not offered.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from stoker.cluster import WHOLE
from stoker.explanation import FOR_ROOM, Because, Cause, Change, ChangeKind, Refusal, Value
from stoker.job import Job, JobSpec
from stoker.queue import DEFAULT, leaves_of, may_use
from stoker.schedule.decide import decide
from stoker.schedule.elastic import least
from stoker.schedule.field import Field
from stoker.schedule.pool import Pool
from stoker.schedule.refusals import Refusals
from stoker.schedule.snapshot import Plan, Snapshot, Start
from stoker.topology import format_topology

_OFFERED = 5
_TRIED = 4  # of one kind, from the smallest on, where room alone does not decide
_MOMENTS = 3  # at which others may first be displaced
_MINUTE = 60.0
_MOST_PRIORITY = 100
_NAMED = 4  # nodes named of where it would start


class _Idea(NamedTuple):
    """A change before it was tried."""

    kind: ChangeKind
    weight: float
    spec: JobSpec
    values: dict[str, Value]


def changes(
    snapshot: Snapshot, job: Job, plan: Plan, because: Because, field: Field, found: Refusals, pool: Pool
) -> tuple[Change, ...]:
    """What would start `job` now, the least change first.

    `field` is what is free once `plan`'s starts are taken out; `pool` makes deciding again and again quick.
    """
    cause = because.cause
    if cause is Cause.ARRAY_LIMIT:
        ideas: Iterable[Iterable[_Idea]] = (_array(job),)
    elif cause in FOR_ROOM:
        ideas = _ideas(snapshot, job, plan, field, found, _quota_left(because))
    else:
        return ()
    trial = Trial(snapshot, job, plan, pool)
    tried = (_first_that_starts(some, trial, field) for some in ideas)
    offered = sorted((change for change in tried if change is not None), key=lambda change: change.weight)
    return tuple(offered[:_OFFERED])


def by_waiting(snapshot: Snapshot, job: Job, plan: Plan, at: float | None, pool: Pool) -> tuple[Change, ...]:
    """That it starts at `at` if nothing changes but that what has a time limit has ended by then."""
    if at is None or at <= snapshot.now:
        return ()
    start = Trial(_later(snapshot, at), job, plan, pool).start(job.spec)
    if start is None:
        return ()
    nodes = tuple(placement.node for placement in start.placements)
    return (Change(ChangeKind.WAIT, {"in_s": at - snapshot.now, "at": at}, 1.0, nodes[:_NAMED]),)


def by_displacing(snapshot: Snapshot, job: Job, plan: Plan, pool: Pool) -> float | None:
    """When it starts because others, who are left alone until then, are ended for it; None: that was not found."""
    wake_at = plan.wake_at
    for _ in range(_MOMENTS):
        if wake_at is None or wake_at <= snapshot.now or not any(one.spec.preemptible for one in snapshot.active):
            return None
        then = decide(_later(snapshot, wake_at), pool)
        for one in then.preempts:
            if one.job.id == job.id:
                return wake_at + max(victim.spec.warning + victim.spec.grace for victim in one.victims)
        snapshot, wake_at = replace(snapshot, now=wake_at), then.wake_at
    return None


def _later(snapshot: Snapshot, at: float) -> Snapshot:
    """At that moment, when what has a time limit has ended by then and nothing else has changed."""
    active = [one for one in snapshot.active if _latest_end(one, snapshot.now) > at]
    return replace(snapshot, now=at, active=active)


def _latest_end(job: Job, now: float) -> float:
    limit = job.spec.time_limit
    return math.inf if limit is None else max(now, (job.started_at or now) + limit + job.spec.grace)


class Trial:
    """Decides anew with one job changed, on the part of the snapshot that can make a difference to it.

    A job that waits in the plan takes nothing from others unless something is kept for it, so of the pending jobs
    only those that start and those with a reservation count.
    """

    def __init__(self, snapshot: Snapshot, job: Job, plan: Plan, pool: Pool) -> None:
        self._job = job
        self._snapshot = snapshot
        self._pool = pool
        matter = {start.job.id for start in plan.starts} | set(plan.reserved)
        matter |= {job_id for job_id, wait in plan.waits.items() if "giving_way" in wait.values}
        others = [one for one in snapshot.pending if one.id != job.id]
        self._few = replace(snapshot, pending=[one for one in others if one.id in matter])
        # Between queues the turn of one job hangs on those that wait, too, and so does who has made room for whom:
        # there all are asked in the end.
        woven = bool(snapshot.queues) or any(one.gives_way_to is not None for one in others)
        self._all = replace(snapshot, pending=others) if woven else None

    def start(self, spec: JobSpec) -> Start | None:
        """How it would start if it asked for `spec`; None: it would not."""
        changed = replace(self._job, spec=spec)
        if spec.queue != self._job.spec.queue:
            changed = submitted_to(spec.queue, self._snapshot, changed)
        start = self._start_of(changed, self._few)
        return self._start_of(changed, self._all) if start is not None and self._all is not None else start

    def _start_of(self, job: Job, among: Snapshot) -> Start | None:
        plan = decide(replace(among, pending=[*among.pending, job]), self._pool)
        return next((start for start in plan.starts if start.job.id == job.id), None)


def _first_that_starts(ideas: Iterable[_Idea], trial: Trial, field: Field) -> Change | None:
    """Of one kind the smallest change that does it. Where there is no room at all, deciding is not asked."""
    tried = 0
    for idea in ideas:
        if idea.kind is not ChangeKind.ARRAY and not field.fit(least(idea.spec))[1]:
            continue
        start = trial.start(idea.spec)
        if start is not None:
            nodes = tuple(placement.node for placement in start.placements)
            return Change(idea.kind, idea.values, idea.weight, nodes[:_NAMED])
        tried += 1
        if tried == _TRIED:
            return None
    return None


def _ideas(
    snapshot: Snapshot, job: Job, plan: Plan, field: Field, found: Refusals, quota: float
) -> Iterator[Iterator[_Idea]]:
    spec = job.spec
    yield _shorter(snapshot, job, plan)
    yield _shared(spec)
    yield _further_apart(spec)
    yield _tolerate(spec, field, found)
    yield _queues(snapshot, job)
    yield _anywhere(spec)
    yield _models(spec, field)
    yield _cpus(spec, field, found)
    yield _memory(spec, field, found)
    yield _devices(spec, quota)
    yield _nodes(spec, field, quota)
    yield _priority(snapshot, job)


def _shorter(snapshot: Snapshot, job: Job, plan: Plan) -> Iterator[_Idea]:
    """A limit with which it ends before what is kept for another begins."""
    spec = job.spec
    kept = sorted({one.at for owner, one in plan.reserved.items() if owner != job.id}, reverse=True)
    for at in kept:
        limit = (at - snapshot.now - spec.grace) // _MINUTE * _MINUTE if np.isfinite(at) else 0.0
        if limit < _MINUTE or (spec.time_limit is not None and limit >= spec.time_limit):
            continue
        share = 1.0 if spec.time_limit is None else 1 - limit / spec.time_limit
        values: dict[str, Value] = {"limit_s": limit}
        if spec.time_limit is not None:
            values["was_s"] = spec.time_limit
        yield _Idea(ChangeKind.SHORTER, 0.3 * share, replace(spec, time_limit=limit), values)


def _shared(spec: JobSpec) -> Iterator[_Idea]:
    if spec.exclusive:
        yield _Idea(ChangeKind.SHARED, 0.15, replace(spec, exclusive=False), {})


def _further_apart(spec: JobSpec) -> Iterator[_Idea]:
    level = spec.topology.required
    if level is not None:
        relaxed = apart(spec)
        values: dict[str, Value] = {"level": level.value, "topology": format_topology(relaxed.topology)}
        yield _Idea(ChangeKind.TOPOLOGY, 0.15, relaxed, values)


def apart(spec: JobSpec) -> JobSpec:
    """What it requires of the topology is only preferred."""
    wish = spec.topology
    preferred = wish.preferred or (wish.required if wish.spread is None else None)
    return replace(spec, topology=replace(wish, required=None, preferred=preferred))


def _tolerate(spec: JobSpec, field: Field, found: Refusals) -> Iterator[_Idea]:
    rows = np.flatnonzero(found.of((Refusal.TAINT,)))
    missing = {tuple(sorted(set(field.layout.nodes[row].taints) - set(spec.tolerations))) for row in rows}
    for taints in sorted(missing, key=lambda some: (len(some), some)):
        values: dict[str, Value] = {"taint": ", ".join(taints)}
        yield _Idea(
            ChangeKind.TOLERATE, 0.2 * len(taints), replace(spec, tolerations=(*spec.tolerations, *taints)), values
        )


def _queues(snapshot: Snapshot, job: Job) -> Iterator[_Idea]:
    for name in other_queues(snapshot, job):
        values: dict[str, Value] = {"queue": name, "was": job.spec.queue or DEFAULT}
        yield _Idea(ChangeKind.QUEUE, 0.25, replace(job.spec, queue=name), values)


def other_queues(snapshot: Snapshot, job: Job) -> list[str]:
    """Those that its owner may use and that have no queues below them; the default one is always there."""
    by_name = {queue.name: queue for queue in snapshot.queues}
    if not by_name:
        return []
    takes = {queue.name for queue in leaves_of(by_name) if may_use(queue, job.tenant, by_name)}
    return sorted((takes if DEFAULT in by_name else takes | {DEFAULT}) - {job.spec.queue or DEFAULT})


def submitted_to(queue: str, snapshot: Snapshot, job: Job) -> Job:
    """`job` as it would be if it was submitted there now: behind all that wait there."""
    last = max(one.id for one in (*snapshot.pending, *snapshot.active))
    return replace(job, id=last + 1, submitted_at=snapshot.now, spec=replace(job.spec, queue=queue))


def _anywhere(spec: JobSpec) -> Iterator[_Idea]:
    if spec.engine or spec.sites:
        asked: dict[str, Value] = {"engine": spec.engine, "site": ", ".join(spec.sites)}
        yield _Idea(ChangeKind.ENGINE, 0.3, replace(spec, engine="", sites=()), asked)


def _models(spec: JobSpec, field: Field) -> Iterator[_Idea]:
    need = spec.resources
    if not need.models:
        return
    named = {device.model.lower(): device.model for node in field.layout.nodes for device in node.devices}
    for model in sorted(named.keys() - {model.lower() for model in need.models}):
        wider = replace(need, models=(*need.models, named[model]))
        values: dict[str, Value] = {
            "model": named[model], "models": " or ".join(need.models), "devices": need.accelerators,
        }  # fmt: skip
        yield _Idea(ChangeKind.MODEL, 0.35, replace(spec, resources=wider), values)


def _cpus(spec: JobSpec, field: Field, found: Refusals) -> Iterator[_Idea]:
    """As many CPUs as are free where all else is."""
    need = spec.resources
    rows = found.of((Refusal.CPUS, Refusal.FREE, Refusal.RESERVED))
    free = sorted((int(count) for count in field.cpus[rows]), reverse=True)
    if len(free) >= spec.nodes and 1 <= (least := free[spec.nodes - 1]) < need.cpus:
        values: dict[str, Value] = {"cpus": least, "was": need.cpus}
        asked = replace(spec, resources=replace(need, cpus=least))
        yield _Idea(ChangeKind.CPUS, 0.5 * (1 - least / need.cpus), asked, values)


def _memory(spec: JobSpec, field: Field, found: Refusals) -> Iterator[_Idea]:
    need = spec.resources
    rows = found.of((Refusal.MEMORY, Refusal.FREE, Refusal.RESERVED))
    free = sorted((int(count) for count in field.room.memory[rows]), reverse=True)
    if len(free) >= spec.nodes and 1 <= (least := free[spec.nodes - 1]) < need.memory:
        values: dict[str, Value] = {"memory_bytes": least, "was_bytes": need.memory}
        asked = replace(spec, resources=replace(need, memory=least))
        yield _Idea(ChangeKind.MEMORY, 0.5 * (1 - least / need.memory), asked, values)


def _quota_left(because: Because) -> float:
    """Devices that a quota leaves, where one is in the way."""
    most, held = because.values.get("most"), because.values.get("held")
    return float(most) - float(held) if most is not None and held is not None else math.inf


def _devices(spec: JobSpec, quota: float) -> Iterator[_Idea]:
    need = spec.resources
    most = min(need.accelerators - 1, quota * WHOLE / (spec.nodes * need.milli))
    for count in range(int(most), 0, -1):
        values: dict[str, Value] = {"devices": count, "was": need.accelerators}
        if need.models:
            values["models"] = " or ".join(need.models)
        asked = replace(spec, resources=replace(need, accelerators=count))
        yield _Idea(ChangeKind.DEVICES, 1 - count / need.accelerators, asked, values)


def _nodes(spec: JobSpec, field: Field, quota: float) -> Iterator[_Idea]:
    fewest = least(spec).nodes
    if fewest == 1:
        return
    fitting: dict[str, int] = {}
    for node in field.fitting(spec):
        fitting[node.engine] = fitting.get(node.engine, 0) + 1
    need = spec.resources
    most: float = min(max(fitting.values(), default=0), fewest - 1)
    if need.accelerators:
        most = min(most, quota * WHOLE / (need.accelerators * need.milli))
    for count in _fewer(int(most)):
        values: dict[str, Value] = {"nodes": count, "was": fewest}
        fewer = replace(spec, nodes=count, min_nodes=min(spec.min_nodes, count))
        yield _Idea(ChangeKind.NODES, 1 - count / fewest, fewer, values)


def _fewer(most: int) -> Sequence[int]:
    """`most`, its half, and one."""
    return sorted({count for count in (most, most // 2, 1) if 1 <= count <= most}, reverse=True)


def _priority(snapshot: Snapshot, job: Job) -> Iterator[_Idea]:
    """One above those ahead of it, from the least of them on."""
    mine = job.spec.priority
    ahead = {one.spec.priority for one in snapshot.pending if one.id != job.id and one.spec.priority >= mine}
    for priority in sorted(ahead):
        if priority < _MOST_PRIORITY:
            values: dict[str, Value] = {"priority": priority + 1, "was": mine}
            raised = (priority + 1 - mine) / _MOST_PRIORITY
            yield _Idea(ChangeKind.PRIORITY, 0.4 + raised, replace(job.spec, priority=priority + 1), values)


def _array(job: Job) -> Iterator[_Idea]:
    limit = job.spec.array_limit
    values: dict[str, Value] = {"limit": limit + 1, "was": limit}
    yield _Idea(ChangeKind.ARRAY, 0.1, replace(job.spec, array_limit=limit + 1), values)
