"""Ending: who is ended so that a waiting job starts, or would be, what each of them loses, and who is protected.

It asks what a pass asks (`preemption`), as if the job was next in line. Nothing is planned.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from stoker.explanation import Cause, Ending, Shield, Shielded, Victim
from stoker.job import Job, JobState
from stoker.schedule.case import Case
from stoker.schedule.line import Line
from stoker.schedule.policy import Preempt
from stoker.schedule.preemption import Preemption, left_alone
from stoker.schedule.victims import loss

# Causes that ending others could overcome; behind a quota only jobs that count against it would help.
_FOR_WANT_OF_ROOM = (Cause.RESOURCES, Cause.FRAGMENTATION, Cause.TOPOLOGY)


def ending(case: Case, cause: Cause, held_by: Sequence[Job]) -> Ending | None:
    """How the job of `case`, which waits for `cause`, starts by ending others; `held_by` are those in its way.

    None where it is no question of that.
    """
    begun = _begun(case)
    if begun:
        return Ending(_victims(case, begun), begun=True)
    if cause not in (*_FOR_WANT_OF_ROOM, Cause.QUOTA) or not held_by:
        return None
    line = Line(case.snapshot)
    for start in case.plan.starts:
        line.started(start.job, start.engine, start.placements)
    found = _chosen(case, Preemption(case.snapshot, line))
    if found:
        return Ending(_victims(case, found), left_s=max(left_alone(one, case.snapshot) for one in found))
    return None if cause is Cause.QUOTA else _in_the_way(case, line, held_by)


def _begun(case: Case) -> list[Job]:
    """Those that are being ended for the job, or that the plan ends or moves for it."""
    mine = case.job.id
    planned = [one for plan in case.plan.preempts if plan.job.id == mine for one in plan.victims]
    planned += [move.job for move in case.plan.moves if move.room_for.id == mine != move.job.id]
    going = [one for one in case.snapshot.active if one.gives_way_to == mine and one.state is JobState.STOPPING]
    return list({one.id: one for one in (*going, *planned)}.values())


def _chosen(case: Case, preemption: Preemption) -> list[Job]:
    """Whom to end at once; where that does not do, whom when they have run for their minimal time."""
    for rested in (True, False):
        choice = preemption.cheapest(case.job, case.spec, case.field, rested=rested)
        if choice is not None:
            return [one.job for one in choice.victims]
    return []


def _in_the_way(case: Case, line: Line, held_by: Iterable[Job]) -> Ending:
    counts: Counter[Shield] = Counter()
    endable, left_s = 0, []
    for one in held_by:
        if one.state is JobState.STOPPING or one.cancel_requested:
            continue
        shield = _shield(case, line, one)
        if shield is None:
            endable += 1
            continue
        counts[shield] += 1
        if shield is Shield.TIME:
            left_s.append(left_alone(one, case.snapshot))
    shielded = (
        Shielded(shield, count, min(left_s) if shield is Shield.TIME else 0.0)
        for shield, count in counts.most_common()
    )
    return Ending(endable=endable, shielded=tuple(shielded))


def _shield(case: Case, line: Line, job: Job) -> Shield | None:
    if case.snapshot.policy.preempt is Preempt.NEVER:
        return Shield.POLICY
    if not job.spec.preemptible:
        return Shield.JOB
    if shield := line.shield(case.job, job):
        return shield
    return Shield.TIME if left_alone(job, case.snapshot) > 0 else None


def _victims(case: Case, jobs: Iterable[Job]) -> tuple[Victim, ...]:
    return tuple(_victim(case, job) for job in jobs)


def _victim(case: Case, job: Job) -> Victim:
    rests_on, lost_s = loss(job, case.snapshot.now, case.snapshot.policy)
    devices = sum(len(placement.devices) for placement in job.placements)
    cpus = job.spec.resources.cpus * len(job.placements)
    return Victim(job.label, job.spec.name, job.owner, job.tenant, devices, cpus, rests_on.value, lost_s)
