"""Replay: the waiting line played forward by the decider itself, as what runs is likely to end.

So a predicted start knows of backfill, reservations, quotas and their windows. What it costs is bounded: ends that
follow each other closely count as one moment, so that a large pool takes no more decisions than a small one takes
time. Nobody is displaced in it, and nobody new comes.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from stoker.job import Job, JobState
from stoker.schedule.decide import decide
from stoker.schedule.policy import Preempt
from stoker.schedule.pool import Pool
from stoker.schedule.snapshot import Plan, Snapshot, Start

_WORK = 40_000  # jobs looked at by all decisions together, about
_FEWEST, _MOST = 16, 256  # decisions

Length = Callable[[Job, float], float | None]  # seconds that a job runs on, after seconds it ran; None: not known


def start_of(
    job: Job, snapshot: Snapshot, plan: Plan, line: Sequence[Job], length: Length, pool: Pool
) -> float | None:
    """When `job`, the last of `line`, starts (seconds since the epoch); None: that was not found.

    `plan` is what was decided on `snapshot`; the jobs that it ends for others are on their way out.
    """
    replay = _Replay(snapshot, plan, line, length, pool)
    size = len(snapshot.active) + len(line)
    passes = min(_MOST, max(_FEWEST, _WORK // max(1, size)))
    together = math.ceil(size / passes)
    for _ in range(2 * passes):
        if any(start.job.id == job.id for start in replay.decide()):
            return replay.now
        if not replay.advance(together):
            return None
    return None


class _Replay:
    def __init__(self, snapshot: Snapshot, plan: Plan, line: Sequence[Job], length: Length, pool: Pool) -> None:
        self.now = snapshot.now
        self._snapshot = replace(snapshot, policy=replace(snapshot.policy, preempt=Preempt.NEVER))
        self._length = length
        self._pool = pool
        self._pending = {job.id: job for job in line}
        going = {victim.id: one.job.id for one in plan.preempts for victim in one.victims}
        self._active = {job.id: _told_to_go(job, going) for job in snapshot.active}
        self._ends: list[tuple[float, int]] = []
        for job in self._active.values():
            self._ends_after(job, self._left(job))

    def decide(self) -> Sequence[Start]:
        """Let start now what may."""
        pending, active = list(self._pending.values()), list(self._active.values())
        plan = decide(replace(self._snapshot, now=self.now, pending=pending, active=active), self._pool)
        for start in plan.starts:
            job = replace(
                self._pending.pop(start.job.id),
                state=JobState.RUNNING, started_at=self.now, engine=start.engine, placements=start.placements,
            )  # fmt: skip
            self._active[job.id] = job
            self._ends_after(job, self._length(job, 0.0))
        return plan.starts

    def advance(self, together: int) -> bool:
        """Let the next jobs end, so many `together`, or a window of a queue begin; False: nothing more happens."""
        window = min((queue.next_change(self.now) for queue in self._snapshot.queues), default=math.inf)
        if not self._ends or window < self._ends[0][0]:
            self.now = max(self.now, window)
            return math.isfinite(window)
        for _ in range(together):
            if not self._ends or self._ends[0][0] > window:
                break
            at, job = heapq.heappop(self._ends)
            self.now = max(self.now, at)
            del self._active[job]
        return True

    def _left(self, job: Job) -> float | None:
        elapsed = 0.0 if job.started_at is None else max(0.0, self.now - job.started_at)
        seconds = self._length(job, elapsed)
        if job.state is not JobState.STOPPING:
            return seconds
        notice = job.spec.warning + job.spec.grace
        return notice if seconds is None else min(seconds, notice)

    def _ends_after(self, job: Job, seconds: float | None) -> None:
        if seconds is not None and math.isfinite(seconds):
            heapq.heappush(self._ends, (self.now + seconds, job.id))


def _told_to_go(job: Job, going: dict[int, int]) -> Job:
    return replace(job, state=JobState.STOPPING, gives_way_to=going[job.id]) if job.id in going else job
