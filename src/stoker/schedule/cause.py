"""Cause: the one thing that keeps a waiting job from running."""

from __future__ import annotations

from collections import Counter

import numpy as np

from stoker.cluster import WHOLE, Node
from stoker.explanation import Because, Cause, Refusal, Value
from stoker.job import JobSpec
from stoker.queue import DEFAULT
from stoker.schedule.case import ROOM, Case
from stoker.schedule.changes import apart
from stoker.schedule.dependencies import Answer, held
from stoker.schedule.elastic import least
from stoker.schedule.field import Field
from stoker.schedule.pool import field_of
from stoker.schedule.refusals import OPEN, refusals
from stoker.schedule.snapshot import Wait

# Reasons of a plan that have nothing to do with room, and the causes they are.
_TOLD = {
    "Dependency": Cause.DEPENDENCY,
    "DependencyNeverSatisfied": Cause.DEPENDENCY,
    "BeginTime": Cause.BEGIN_TIME,
    "ArrayTaskLimit": Cause.ARRAY_LIMIT,
}


def because(case: Case) -> Because:
    wait = case.plan.waits.get(case.job.id) or case.plan.fails.get(case.job.id)
    if any(start.job.id == case.job.id for start in case.plan.starts):
        return Because(Cause.STARTING)
    if wait is None:
        return Because(Cause.UNDECIDED)
    if wait.reason in _TOLD:
        return Because(_TOLD[wait.reason], _told(case, wait))
    if "giving_way" in wait.values:
        return Because(Cause.PREEMPTING, dict(wait.values))
    if wait.reason not in ROOM:
        values = {"reason": wait.reason, "message": wait.message, **wait.values}
        return Because(Cause.QUOTA, values | _until_it_changes(case, wait.values.get("queue")))
    if "kept_for" in wait.values:
        return Because(Cause.RESERVATION, _overdue(case, wait))
    return _for_room(case)


def _until_it_changes(case: Case, name: object) -> dict[str, Value]:
    """When other numbers hold in the queue, where that is known."""
    now = case.snapshot.now
    change = next((queue.next_change(now) for queue in case.snapshot.queues if queue.name == name), np.inf)
    return {"changes_in_s": change - now} if np.isfinite(change) else {}


def _overdue(case: Case, wait: Wait) -> dict[str, Value]:
    """A job of its queue has waited longer than the queue's patience."""
    owner = wait.values["kept_for"]
    label = next((one.label for one in case.snapshot.pending if one.id == owner), str(owner))
    return {"job": label, "queue": wait.values["queue"], "overdue": 1}


def _told(case: Case, wait: Wait) -> dict[str, Value]:
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


def _for_room(case: Case) -> Because:
    """There is too little room, or it is not for this job."""
    spec = least(case.job.spec)
    if case.most(case.could) < spec.nodes:
        return _hopeless(case)
    if case.before.fit(spec)[1]:
        if not case.before.fit(case.spec)[1]:
            models = " or ".join(spec.resources.models)
            queue = spec.queue or DEFAULT
            values: dict[str, Value] = {"limit": "models", "queue": queue, "models": models}
            return Because(Cause.QUOTA, values | _until_it_changes(case, queue))
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


def _where_topology_fails(case: Case) -> Field | None:
    """What is free, or the empty pool, where only the topology keeps the job from fitting."""
    if case.before.fit(apart(case.spec))[1]:
        return case.before
    empty = field_of(case.field.layout.nodes, ())
    return None if empty.fit(least(case.job.spec))[1] else empty


def _too_far_apart(case: Case, field: Field) -> dict[str, Value]:
    level = case.job.spec.topology.required
    assert level is not None  # noqa: S101 - who asks has looked
    roomy = field.fitting(apart(case.job.spec))
    values: dict[str, Value] = {"level": level.value, "roomy": len(roomy)}
    if level.within_node and (case.job.spec.nodes == 1 or not level.between_nodes):
        return values | {"within": 1}
    domains = Counter((node.engine, node.domain(level)) for node in roomy if node.domain(level))
    return values | {"largest": max(domains.values(), default=0)}


def _lacks(case: Case, refusal: Refusal) -> int:
    return int(case.found.of((refusal,)).sum())


def _hopeless(case: Case) -> Because:
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


def _of_nodes(case: Case, refusal: Refusal) -> dict[str, Value]:
    nodes = [case.field.layout.nodes[row] for row in np.flatnonzero(case.found.of((refusal,)))]
    reasons = dict.fromkeys(_word_of(node, refusal) for node in nodes)
    return {"count": len(nodes), "node": nodes[0].name, "why": ", ".join(filter(None, list(reasons)[:3]))}


def _word_of(node: Node, refusal: Refusal) -> str:
    return ", ".join(node.taints) if refusal is Refusal.TAINT else node.reason


def _away_for(case: Case) -> dict[str, Value]:
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


def _reserved_for(case: Case) -> int | None:
    return next((owner for owner in case.plan.reserved if owner != case.job.id), None)


def _of_reservation(case: Case, owner: int) -> dict[str, Value]:
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


def _free_devices(case: Case) -> dict[str, Value]:
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


def _free_cpus(case: Case) -> dict[str, Value]:
    free = np.maximum(case.field.cpus[case.could], 0)
    total = case.field.layout.cpus[case.could]
    return {
        "free_cpus": int(free.sum()), "total_cpus": int(total.sum()), "largest_cpus": int(free.max(initial=0)),
    }  # fmt: skip


def _free_memory(case: Case) -> dict[str, Value]:
    free = np.maximum(case.field.room.memory[case.could], 0)
    return {"free_memory_bytes": int(free.sum()), "largest_memory_bytes": int(free.max(initial=0))}
