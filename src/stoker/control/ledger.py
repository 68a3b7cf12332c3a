"""The work that has not ended, kept in memory: read once, then only what moved since."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stoker.job import Job, JobState
from stoker.store.jobs import JobStore


class Ledger:
    """Live jobs by id, and the states that their dependencies ask for. Used by one thread."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._pending: dict[int, Job] = {}
        self._active: dict[int, Job] = {}
        self._settled: dict[int, tuple[JobState, ...]] = {}  # ended targets of dependencies
        self._event: int | None = None

    def refresh(self) -> None:
        if self._event is None:
            jobs, self._event = self._store.live()
        else:
            jobs, self._event = self._store.changed(self._event)
        for job in jobs:
            self.note(job)

    def note(self, job: Job) -> None:
        self._pending.pop(job.id, None)
        self._active.pop(job.id, None)
        if job.state is JobState.PENDING:
            self._pending[job.id] = job
        elif not job.state.final:
            self._active[job.id] = job

    def get(self, job_id: int) -> Job | None:
        return self._pending.get(job_id) or self._active.get(job_id)

    def pending(self) -> Sequence[Job]:
        return list(self._pending.values())

    def active(self) -> Sequence[Job]:
        return list(self._active.values())

    def depended(self) -> Mapping[int, tuple[JobState, ...]]:
        """The states behind every dependency of a pending job. What has ended for good is asked once."""
        targets = {dependency.job for job in self._pending.values() for dependency in job.spec.depends}
        found: dict[int, tuple[JobState, ...]] = {}
        unknown: list[int] = []
        for target in targets:
            job = self.get(target)
            if job is not None and job.array_id is None:
                found[target] = (job.state,)
            elif target in self._settled:
                found[target] = self._settled[target]
            else:
                unknown.append(target)
        for target, states in self._store.states(unknown).items():
            found[target] = states
            if all(state.final for state in states):
                self._settled[target] = states
        return found
