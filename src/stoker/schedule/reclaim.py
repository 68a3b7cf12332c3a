"""What a service could have at once: the scheduler is asked as if its further replicas waited now.

So queues, topology, priorities and `min_runtime` count as they will when it is in earnest. Pure: no I/O, no clock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from stoker.job import Job, JobSpec, JobState
from stoker.schedule.decide import decide
from stoker.schedule.snapshot import Snapshot

_MOST = 64  # replicas that are asked for: each may look at all that runs
_PASS_S = 1.0  # until the scheduler has seen the need, and that the room is there


@dataclass(frozen=True)
class Room:
    free: int  # replicas that would start at once
    taken: int  # replicas for which others would be ended
    within: float  # seconds until the last of them has its room


def room_for(snapshot: Snapshot, spec: JobSpec, count: int, *, tenant: str, owner: str) -> Room:
    """Room for `count` jobs of `spec`, beside all that waits with the same priority or a higher one."""
    first = 1 + max((job.id for job in (*snapshot.pending, *snapshot.active)), default=0)
    asked = [
        Job(first + number, spec, tenant, owner, JobState.PENDING, submitted_at=snapshot.now)
        for number in range(min(count, _MOST))
    ]
    before = [job for job in snapshot.pending if job.spec.priority >= spec.priority]
    plan = decide(replace(snapshot, pending=(*before, *asked)))
    ours = {job.id for job in asked}
    free = sum(start.job.id in ours for start in plan.starts)
    taken = [one for one in plan.preempts if one.job.id in ours]
    notice = max((victim.spec.grace + victim.spec.warning for one in taken for victim in one.victims), default=0.0)
    return Room(free, len(taken), notice + _PASS_S if free or taken else 0.0)
