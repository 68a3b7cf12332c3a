"""Why a job waits: the one cause, what would start it now, who holds what it waits for, its place, its start.

Pure: the snapshot that was decided on and the plan that came of it, an Explanation of plain values out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from stoker.cluster import WHOLE, Node
from stoker.explanation import (
    Accuracy,
    Ahead,
    Because,
    Cause,
    Explanation,
    Forecast,
    Holder,
    Refusal,
    Standing,
    Value,
)
from stoker.foreign import ForeignJob
from stoker.job import Job, JobSpec
from stoker.queue import DEFAULT
from stoker.schedule.changes import apart, by_displacing, by_waiting, changes
from stoker.schedule.decide import decide
from stoker.schedule.dependencies import Answer, held
from stoker.schedule.elastic import least
from stoker.schedule.field import Field, away_from_here
from stoker.schedule.forecast import forecast
from stoker.schedule.lasting import Lasting, devices_of
from stoker.schedule.layout import Bools
from stoker.schedule.line import Line
from stoker.schedule.pool import Pool, field_of
from stoker.schedule.refusals import OPEN, Refusals, by_node, refusals
from stoker.schedule.snapshot import Plan, Preempt, Reserved, Snapshot, Wait

_HOLDERS = 8  # named
_RIVALS = 5  # named
# Reasons of a plan that have nothing to do with room, and the causes they are.
_TOLD = {
    "Dependency": Cause.DEPENDENCY,
    "DependencyNeverSatisfied": Cause.DEPENDENCY,
    "BeginTime": Cause.BEGIN_TIME,
    "ArrayTaskLimit": Cause.ARRAY_LIMIT,
}
_ROOM = ("Resources", "Priority", "ReqNodeNotAvail", "EngineAway")
_HELD_UP = (Cause.RESOURCES, Cause.FRAGMENTATION, Cause.TOPOLOGY, Cause.RESERVATION, Cause.PRIORITY)


def explain(
    snapshot: Snapshot,
    job: Job,
    plan: Plan | None = None,
    *,
    lasting: Lasting | None = None,
    accuracy: Accuracy | None = None,
    nodes: bool = False,
    offer: bool = True,
) -> Explanation:
    """Why `job`, which is pending in `snapshot`, does not run. `plan` is what was decided on it; None: decide.

    `lasting` is how long jobs ran so far, `accuracy` how good earlier forecasts were. With `nodes` each is told;
    without `offer` no changes are looked for.
    """
    plan = decide(snapshot) if plan is None else plan
    case = _Case.of(snapshot, job, plan)
    because = _because(case)
    offered = () if not offer else changes(snapshot, job, plan, because, case.field, case.found, case.pool)
    rivals = case.rivals()
    holding = _holding(case)
    when = _forecast(case, because.cause, rivals, holding, lasting or Lasting(), accuracy or Accuracy())
    if offer and not rivals and because.cause in _HELD_UP:
        offered += by_waiting(snapshot, job, plan, when.latest, case.pool)
    holders = _holders(case, holding)
    return Explanation(
        job=job.label,
        name=job.spec.name,
        at=snapshot.now,
        since=job.submitted_at,
        because=because,
        changes=offered,
        holders=tuple(holders[:_HOLDERS]),
        more_holders=max(0, len(holders) - _HOLDERS),
        line=Standing(len(case.ahead), len(rivals), tuple(_ahead(one) for one in rivals[:_RIVALS])),
        forecast=when,
        refusals=case.found.counts(),
        nodes=by_node(case.field, case.found, snapshot.away) if nodes else (),
    )


@dataclass(frozen=True)
class _Case:
    """All that the questions about one job rest on."""

    snapshot: Snapshot
    job: Job
    plan: Plan
    pool: Pool
    before: Field  # what is free
    field: Field  # what is free once the plan's starts are taken out
    found: Refusals
    spec: JobSpec  # as a place is looked for: only models of which its queue may have more
    ahead: Sequence[Job]  # jobs that wait and go first, in order

    @classmethod
    def of(cls, snapshot: Snapshot, job: Job, plan: Plan) -> _Case:
        present = [node for node in snapshot.nodes if node.engine not in snapshot.away]
        away = tuple(node for node in snapshot.nodes if node.engine in snapshot.away)
        pool = Pool()
        before = pool.at(present, snapshot.active, snapshot.others, snapshot.mix).copy()
        field = before.copy()
        for start in plan.starts:
            if start.job.id != job.id:
                field.take(start.job.spec, start.engine, start.placements)
        spec = _narrowed(snapshot, job, plan)
        kept: list[Reserved | Preempt] = [one for owner, one in plan.reserved.items() if owner != job.id]
        kept += [one for one in plan.preempts if one.job.id != job.id]
        found = refusals(field, job.spec, reserved=_rows(field, kept), away=away)
        return cls(snapshot, job, plan, pool, before, field, found, spec, _in_line(snapshot, job, plan))

    @property
    def could(self) -> Bools:
        """Rows of nodes that could hold one node's part, once they are empty."""
        return self.found.of(OPEN)

    def most(self, rows: Bools) -> int:
        """The most of these rows in one engine: a gang is of one engine."""
        return max((int(rows[some].sum()) for some in self.field.layout.engines.values()), default=0)

    def rivals(self) -> list[Job]:
        """Those ahead that want a node which this job could use, too."""
        mine = self.could
        wants: dict[object, bool] = {}
        found = []
        for one in self.ahead:
            shape = _shape(one.spec)
            if shape not in wants:
                theirs = refusals(self.field, one.spec).of(OPEN)
                wants[shape] = bool((mine & theirs).any())
            if wants[shape]:
                found.append(one)
        return found


def _narrowed(snapshot: Snapshot, job: Job, plan: Plan) -> JobSpec:
    line = Line(snapshot)
    for start in plan.starts:
        line.started(start.job, start.engine, start.placements)
    return line.narrowed(replace(job, spec=least(job.spec)))


def _shape(spec: JobSpec) -> object:
    """What decides which nodes could hold it."""
    return spec.resources, spec.engine, spec.sites, spec.tolerations, away_from_here(spec)


def _in_line(snapshot: Snapshot, job: Job, plan: Plan) -> list[Job]:
    """The jobs that wait for room and were considered before `job`: a plan tells of them in their order."""
    by_id = {one.id: one for one in snapshot.pending}
    ahead: list[Job] = []
    for job_id, wait in plan.waits.items():
        if job_id == job.id:
            return ahead
        if wait.reason in _ROOM and job_id in by_id:
            ahead.append(by_id[job_id])
    return []


def _rows(field: Field, kept: Sequence[Reserved | Preempt]) -> Bools:
    places = {(one.engine, placement.node) for one in kept for placement in one.placements}
    return np.array([(node.engine, node.name) in places for node in field.layout.nodes], dtype=np.bool_)


# the cause


def _because(case: _Case) -> Because:
    wait = case.plan.waits.get(case.job.id) or case.plan.fails.get(case.job.id)
    if any(start.job.id == case.job.id for start in case.plan.starts):
        return Because(Cause.STARTING)
    if wait is None:
        return Because(Cause.UNDECIDED)
    if wait.reason in _TOLD:
        return Because(_TOLD[wait.reason], _told(case, wait))
    if "giving_way" in wait.values:
        return Because(Cause.PREEMPTING, dict(wait.values))
    if wait.reason not in _ROOM:
        return Because(Cause.QUOTA, {"reason": wait.reason, "message": wait.message, **wait.values})
    return _for_room(case)


def _told(case: _Case, wait: Wait) -> dict[str, Value]:
    job, snapshot = case.job, case.snapshot
    match _TOLD[wait.reason]:
        case Cause.DEPENDENCY:
            answer, _ = held(job, snapshot.depended)
            awaited = ", ".join(f"{one.condition}:{one.job}" for one in job.spec.depends)
            return {"jobs": awaited, "never": int(answer is Answer.NEVER)}
        case Cause.BEGIN_TIME:
            return {"in_s": max(0.0, (job.not_before or snapshot.now) - snapshot.now), "attempt": job.attempt}
        case _:
            return {"limit": job.spec.array_limit}


def _for_room(case: _Case) -> Because:
    """There is too little room, or it is not for this job."""
    spec = least(case.job.spec)
    if case.most(case.could) < spec.nodes:
        return _hopeless(case)
    if case.before.fit(spec)[1]:
        if not case.before.fit(case.spec)[1]:
            models = " or ".join(spec.resources.models)
            return Because(Cause.QUOTA, {"limit": "models", "queue": spec.queue or DEFAULT, "models": models})
        if case.field.fit(spec)[1] and (owner := _reserved_for(case)):
            return Because(Cause.RESERVATION, _of_reservation(case, owner))
        return Because(Cause.PRIORITY, {"ahead": len(case.ahead), "starting": len(case.plan.starts)})
    asked = _asked(spec)
    if spec.topology.required and (field := _where_topology_fails(case)) is not None:
        return Because(Cause.TOPOLOGY, asked | _too_far_apart(case, field))
    if spec.exclusive:
        return Because(Cause.RESOURCES, asked | {"exclusive": 1})
    if spec.resources.accelerators:
        free = _free_devices(case)
        enough = int(free["free"]) >= spec.nodes * spec.resources.accelerators
    elif _lacks(case, Refusal.MEMORY) and not _lacks(case, Refusal.CPUS):
        free = _free_memory(case)
        enough = int(free["free_memory_bytes"]) >= spec.nodes * spec.resources.memory
    else:
        free = _free_cpus(case)
        enough = int(free["free_cpus"]) >= spec.nodes * max(1, spec.resources.cpus)
    return Because(Cause.FRAGMENTATION if enough else Cause.RESOURCES, asked | free)


def _where_topology_fails(case: _Case) -> Field | None:
    """What is free, or the empty pool, where only the topology keeps the job from fitting."""
    if case.before.fit(apart(case.spec))[1]:
        return case.before
    empty = field_of(case.field.layout.nodes, ())
    return None if empty.fit(least(case.job.spec))[1] else empty


def _too_far_apart(case: _Case, field: Field) -> dict[str, Value]:
    level = case.job.spec.topology.required
    assert level is not None  # noqa: S101 - who asks has looked
    roomy = field.fitting(apart(case.job.spec))
    values: dict[str, Value] = {"level": level.value, "roomy": len(roomy)}
    if level.within_node and (case.job.spec.nodes == 1 or not level.between_nodes):
        return values | {"within": 1}
    domains = Counter((node.engine, node.domain(level)) for node in roomy if node.domain(level))
    return values | {"largest": max(domains.values(), default=0)}


def _lacks(case: _Case, refusal: Refusal) -> int:
    return int(case.found.of((refusal,)).sum())


def _hopeless(case: _Case) -> Because:
    """Too few nodes could hold it even when they are empty. Which ones could, if what was different?"""
    spec, found = least(case.job.spec), case.found
    values = _asked(spec) | {"could": case.most(case.could)}
    for refusal, cause in (
        (Refusal.DRAINED, Cause.DRAINED),
        (Refusal.TAINT, Cause.TAINTS),
        (Refusal.FAILED, Cause.FAILED_DEVICES),
    ):
        rows = found.of((*OPEN, refusal))
        if case.most(rows) >= spec.nodes:
            return Because(cause, values | _of_nodes(case, refusal))
    if why := _away_for(case):
        return Because(Cause.ENGINE_AWAY, values | why)
    return Because(Cause.NEVER, values | {"nodes_there": len(case.field.layout.nodes)})


def _of_nodes(case: _Case, refusal: Refusal) -> dict[str, Value]:
    nodes = [case.field.layout.nodes[row] for row in np.flatnonzero(case.found.of((refusal,)))]
    reasons = dict.fromkeys(_word_of(node, refusal) for node in nodes)
    return {"count": len(nodes), "node": nodes[0].name, "why": ", ".join(filter(None, list(reasons)[:3]))}


def _word_of(node: Node, refusal: Refusal) -> str:
    return ", ".join(node.taints) if refusal is Refusal.TAINT else node.reason


def _away_for(case: _Case) -> dict[str, Value]:
    """The engine that is away and could hold the job, with what it offers now or when it was seen last."""
    spec, snapshot = least(case.job.spec), case.snapshot
    for engine, why in snapshot.away.items():
        if spec.engine not in ("", engine):
            continue
        nodes = [node for node in case.found.away if node.engine == engine]
        field = field_of(nodes, ())
        if not nodes or int(refusals(field, spec).of(OPEN).sum()) >= spec.nodes:
            return {"engine": engine, "why": why}
    return {}


def _reserved_for(case: _Case) -> int | None:
    return next((owner for owner in case.plan.reserved if owner != case.job.id), None)


def _of_reservation(case: _Case, owner: int) -> dict[str, Value]:
    kept = case.plan.reserved[owner]
    job = next((one for one in case.ahead if one.id == owner), None)
    values: dict[str, Value] = {"job": job.label if job else str(owner)}
    if job is not None:
        values |= _asked(job.spec)
    if np.isfinite(kept.at):
        values["in_s"] = max(0.0, kept.at - case.snapshot.now)
    return values


def _asked(spec: JobSpec) -> dict[str, Value]:
    need = spec.resources
    values: dict[str, Value] = {"nodes": spec.nodes, "cpus": need.cpus, "devices": need.accelerators}
    if need.models:
        values["models"] = " or ".join(need.models)
    if need.accelerators and need.milli < WHOLE:
        values["milli"] = need.milli
    if need.memory:
        values["memory_bytes"] = need.memory
    return values


def _free_devices(case: _Case) -> dict[str, Value]:
    rows = case.could
    free, total = case.found.free[rows], case.found.total[rows]
    slivers = (free > 0) & (free < case.job.spec.resources.accelerators)
    return {
        "free": int(free.sum()),
        "total": int(total.sum()),
        "largest": int(free.max(initial=0)),
        "slivers": int(slivers.sum()),
        "whole": int((free >= case.job.spec.resources.accelerators).sum()),
        "starved": _lacks(case, Refusal.CPUS) + _lacks(case, Refusal.MEMORY),
    }


def _free_cpus(case: _Case) -> dict[str, Value]:
    free = np.maximum(case.field.cpus[case.could], 0)
    total = case.field.layout.cpus[case.could]
    return {
        "free_cpus": int(free.sum()), "total_cpus": int(total.sum()), "largest_cpus": int(free.max(initial=0)),
    }  # fmt: skip


def _free_memory(case: _Case) -> dict[str, Value]:
    free = np.maximum(case.field.room.memory[case.could], 0)
    return {"free_memory_bytes": int(free.sum()), "largest_memory_bytes": int(free.max(initial=0))}


# who is in its way


def _holding(case: _Case) -> list[Job]:
    """The active jobs that hold something of a node that this job could use."""
    nodes = case.field.layout.nodes
    mine = {(nodes[row].engine, nodes[row].name) for row in np.flatnonzero(case.could)}
    # A machine of two engines is held through either.
    twins = {
        (nodes[twin].engine, nodes[twin].name) for row in np.flatnonzero(case.could)
        for twin in case.field.layout.twins[row]
    }  # fmt: skip
    wanted = mine | twins
    return [
        job for job in case.snapshot.active
        if any((job.engine, placement.node) in wanted for placement in job.placements)
    ]  # fmt: skip


def _holders(case: _Case, holding: Sequence[Job]) -> list[Holder]:
    """Those that end first at the top, those that nobody knows an end of last."""
    own = [_holder(job) for job in holding]
    wanted = {node.name for node in _could_nodes(case)}
    foreign = [_foreign(other) for other in case.snapshot.others if any(one.node in wanted for one in other.held)]
    return sorted([*own, *foreign], key=lambda one: (one.until is None, one.until or 0.0, one.job))


def _could_nodes(case: _Case) -> Iterator[Node]:
    return (case.field.layout.nodes[row] for row in np.flatnonzero(case.could))


def _holder(job: Job) -> Holder:
    limit = job.spec.time_limit
    until = None if limit is None or job.started_at is None else job.started_at + limit + job.spec.grace
    devices = sum(len(placement.devices) for placement in job.placements)
    cpus = job.spec.resources.cpus * len(job.placements)
    return Holder(job.label, job.spec.name, job.owner, job.tenant, devices, cpus, until)


def _foreign(other: ForeignJob) -> Holder:
    devices, cpus = sum(one.devices for one in other.held), sum(one.cpus for one in other.held)
    return Holder(other.id, other.name, other.owner, "", devices, cpus, None, engine=other.engine)


def _ahead(job: Job) -> Ahead:
    spec = job.spec
    return Ahead(job.label, spec.name, job.owner, job.tenant, spec.priority, devices_of(job), spec.nodes)


# when it starts


def _forecast(
    case: _Case, cause: Cause, rivals: Sequence[Job], holding: Sequence[Job], lasting: Lasting, accuracy: Accuracy
) -> Forecast:
    if cause is Cause.STARTING:
        return Forecast(case.snapshot.now, case.snapshot.now, learnt=lasting.count, accuracy=accuracy)
    if cause is Cause.PREEMPTING:
        going = [one for one in case.snapshot.active if one.gives_way_to == case.job.id]
        going += [one for plan in case.plan.preempts if plan.job.id == case.job.id for one in plan.victims]
        at = case.snapshot.now + max((one.spec.warning + one.spec.grace for one in going), default=0.0)
        return Forecast(at, at, learnt=lasting.count, accuracy=accuracy)
    if cause not in _HELD_UP:
        return Forecast(why="blocked", learnt=lasting.count, accuracy=accuracy)
    by_ends = forecast(case.snapshot.now, case.job, rivals, holding, case.field, lasting, accuracy)
    displacing = by_displacing(case.snapshot, case.job, case.plan, case.pool)
    if displacing is None or (by_ends.at is not None and by_ends.at <= displacing):
        return by_ends
    return Forecast(displacing, displacing, learnt=lasting.count, accuracy=accuracy)
