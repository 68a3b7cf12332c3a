"""Course: how far a simulated job is. Only here it is known how long it still runs."""

from __future__ import annotations

from dataclasses import replace

from stoker.job import Job, JobState
from stoker.schedule import Policy, Start
from stoker.simulate.trace import TracedJob


class Course:
    """Mutable. `version` counts attempts, so that the end of one that was cut short is known for old."""

    def __init__(self, traced: TracedJob) -> None:
        self.traced = traced
        self.version = 0
        self.done = 0.0  # seconds of work that are safe
        self.served = 0.0  # seconds that it has held its devices in earlier attempts
        self.lost = 0.0  # seconds of work, on all its nodes, that have to be done again
        self.starting = 0.0  # seconds that its starts took; in part where it had but a part of its nodes
        self.preemptions = 0
        self.came_at = 0.0
        self.first_start: float | None = None
        self.ended_at: float | None = None
        self.ends_at = 0.0
        self._began = 0.0
        self._restart = 0.0
        self._every = 0.0
        self._pace = 1.0  # of work; an elastic job on half its nodes is half as fast
        self.held = 0.0  # device-seconds in earlier attempts

    def submitted(self, now: float) -> Job:
        one = self.traced
        self.came_at = now
        return Job(one.id, one.spec, one.tenant, one.owner, JobState.PENDING, now)

    def started(self, start: Start, now: float, policy: Policy) -> Job:
        if self.first_start is None:
            self.first_start = now
        self.version += 1
        self._began = now
        again = policy.restart if self.version > 1 else 0.0  # the trace's own time holds its first start
        self._restart = again if self.traced.restart is None else self.traced.restart
        self._pace = len(start.placements) / start.job.spec.nodes if start.job.spec.min_nodes else 1.0
        self.ends_at = now + self._restart + max(self.traced.work - self.done, 0.0) / self._pace
        return replace(
            start.job,
            state=JobState.RUNNING,
            started_at=now,
            attempt=self.version,
            engine=start.engine,
            placements=start.placements,
            not_before=None,
            gives_way_to=None,
            moves=False,
        )

    def ended(self, now: float) -> None:
        self._leaves(now)
        self.done = self.traced.work
        self.ended_at = now

    def told_to_go(self, every: float) -> None:
        """It will be cut, and keeps what it has done by then in steps of `every` seconds; 0: all of it."""
        self.version += 1
        self._every = every

    def safe(self, now: float, every: float) -> float:
        """Seconds of work of this attempt that it would keep if it were cut now."""
        ran, step = self._ran(now), every * self._pace
        return ran if step <= 0 else ran // step * step

    def cut(self, now: float) -> None:
        """It has been ended before its time: what it did since its last checkpoint is lost."""
        ran, kept = self._ran(now), self.safe(now, self._every)
        self._leaves(now)
        self.lost += ran - kept
        self.done += kept
        self.preemptions += 1

    def _ran(self, now: float) -> float:
        return min(max(0.0, now - self._began - self._restart) * self._pace, self.traced.work - self.done)

    def _leaves(self, now: float) -> None:
        """Its devices are free again."""
        self.starting += min(self._restart, now - self._began) * self._pace
        self.served += now - self._began
        self.held += (now - self._began) * self._pace * self.traced.devices

    def waits_again(self, job: Job) -> Job:
        return replace(job, state=JobState.PENDING, started_at=None, engine="", placements=())
