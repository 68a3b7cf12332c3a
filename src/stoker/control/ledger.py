"""The work that has not ended, kept in memory: read once, then only what moved since."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence

from stoker.job import Job, JobSpec, JobState
from stoker.schedule import Mix, mix_of, usual_mix
from stoker.store.jobs import Filter, JobStore

_RECENT = 2000  # jobs
_LEARN_AFTER = 200  # jobs that came since; half of those that are looked at, once there are so many


class Ledger:
    """Live jobs by id, and the states that their dependencies ask for. Used by one thread."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._pending: dict[int, Job] = {}
        self._active: dict[int, Job] = {}
        self._since: dict[tuple[int, JobState], float] = {}
        self._settled: dict[int, tuple[JobState, ...]] = {}  # ended targets of dependencies
        self._event: int | None = None
        self._made: Counter[int] = Counter()  # moves of ours since then
        self._recent: deque[JobSpec] = deque(maxlen=_RECENT)  # what came lately, to learn what is likely to come
        self._mix: Mix = usual_mix()
        self._unlearnt = 0

    def refresh(self) -> None:
        if self._event is None:
            jobs, self._event = self._store.live()
            self._learn(job.spec for job in reversed(self._store.find(Filter(), limit=_RECENT)))
        else:
            jobs, self._event = self._store.changed(self._event, self._made)
            self._learn(job.spec for job in jobs if job.state is JobState.PENDING and not job.attempt)
        self._made.clear()
        for job in jobs:
            self.note(job)

    def moved(self, job: Job) -> None:
        """Note what this process has just moved itself: it is not read again."""
        self._made[job.id] += 1
        self.note(job)

    def mix(self) -> Mix:
        """Which jobs are likely to come. It follows slowly: to learn it anew costs more than a placement."""
        if self._unlearnt >= max(_LEARN_AFTER, len(self._recent) // 2):
            self._mix, self._unlearnt = mix_of(self._recent), 0
        return self._mix

    def _learn(self, specs: Iterable[JobSpec]) -> None:
        came = list(specs)
        self._recent.extend(came)
        self._unlearnt += len(came)

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

    def since(self) -> Mapping[int, float]:
        """When each pending job that had been handed over before came back, and each that stops was told to."""
        back = [(job.id, job.state) for job in self._pending.values() if job.attempt]
        back += [(job.id, job.state) for job in self._active.values() if job.state is JobState.STOPPING]
        new = [one for one in back if one not in self._since]
        known = {**self._since, **self._store.since(new)} if new else self._since
        self._since = {one: known[one] for one in back if one in known}
        return {job_id: at for (job_id, _), at in self._since.items()}

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
