"""Waiting: the jobs that wait, and which of them it is enough to offer to a pass.

Jobs that ask for the same and are of the same user and priority fit at the same places, and room only shrinks
within a pass. So all behind the first of them in the policy's order that gets nothing would be looked at in vain. A
pass is offered a few of each kind; where all of these get something, it is asked again with more. That changes no
decision, and makes long queues cheap to simulate. Where queues are set up, who is next depends on more, and all are
offered.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection, Container, Hashable

from stoker.job import Job
from stoker.schedule.rank import Rank


class Waiting:
    """Mutable."""

    def __init__(self, *, everything: bool) -> None:
        """`everything`: offer all that wait."""
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

    def offered(self, most: int, besides: Collection[int]) -> list[Job]:
        """Of each kind the first `most`, and all `besides`, who come before others."""
        if self._everything:
            return list(self.jobs.values())
        first = [job_id for alike in self._alike.values() for _, job_id in alike[:most]]
        more = set(besides).difference(first)
        return [self.jobs[job_id] for job_id in (*first, *sorted(more)) if job_id in self.jobs]

    def enough(self, most: int, taken: Container[int]) -> bool:
        """Whether to offer more would change nothing, when those `taken` of the first `most` got something."""
        return self._everything or all(
            len(alike) <= most or any(job_id not in taken for _, job_id in alike[:most])
            for alike in self._alike.values()
        )

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
