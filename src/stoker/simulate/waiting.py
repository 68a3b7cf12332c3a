"""Waiting: the jobs that wait, and which of them it is enough to offer to a pass.

Jobs that ask for the same and are of the same user and priority fit at the same places, and room only shrinks
within a pass. So when the pool can hold n of them, all behind the first n + 1 in the policy's order would be looked
at in vain. That changes no decision, and makes long queues cheap to simulate. Where queues are set up, who is next
depends on more, and all are offered.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Hashable

from stoker.cluster import WHOLE
from stoker.job import Job
from stoker.schedule.rank import Rank


class Waiting:
    """Mutable."""

    def __init__(self, devices: int, *, everything: bool) -> None:
        """`devices` of the pool; `everything`: offer all that wait."""
        self._devices = devices
        self._everything = everything
        self._rank: Rank | None = None
        self.jobs: dict[int, Job] = {}
        self._alike: dict[Hashable, list[tuple[float, int]]] = {}  # rank and id, in order
        self._entry: dict[int, tuple[Hashable, tuple[float, int]]] = {}

    def rank_by(self, rank: Rank | None) -> None:
        """Ranks of jobs that wait stay until the next call."""
        self._rank = rank
        self._alike, self._entry = {}, {}
        for job in self.jobs.values():
            self._enter(job)

    def add(self, job: Job) -> None:
        self.jobs[job.id] = job
        self._enter(job)

    def pop(self, job_id: int) -> Job:
        if job_id in self._entry:
            key, entry = self._entry.pop(job_id)
            alike = self._alike[key]
            del alike[bisect_left(alike, entry)]
        return self.jobs.pop(job_id)

    def offered(self) -> list[Job]:
        if self._everything:
            return list(self.jobs.values())
        kinds = [alike for alike in self._alike.values() if alike]
        return [self.jobs[job_id] for alike in kinds for _, job_id in alike[: self._most(alike[0][1])]]

    def _most(self, job_id: int) -> int:
        spec = self.jobs[job_id].spec
        milli = spec.nodes * spec.resources.accelerators * spec.resources.milli
        return WHOLE * self._devices // milli + 1 if milli else len(self.jobs)

    def _enter(self, job: Job) -> None:
        if self._everything:
            return
        key, entry = _key(job), (self._rank(job) if self._rank else 0.0, job.id)
        insort(self._alike.setdefault(key, []), entry)
        self._entry[job.id] = key, entry


def _key(job: Job) -> Hashable:
    """What decides where and before whom a job may start, but for its rank. Arrays with a limit, and victims whose
    room is kept for somebody, are one of a kind."""
    spec = job.spec
    if spec.array_limit or spec.depends or job.gives_way_to is not None or job.not_before is not None:
        return job.id
    return (
        spec.resources, spec.nodes, spec.min_nodes, spec.exclusive, spec.engine, spec.sites, spec.tolerations,
        spec.topology, spec.image, spec.reservation, spec.time_limit, spec.grace, spec.deadline, spec.priority,
        job.tenant, job.owner, bool(job.attempt),
    )  # fmt: skip
