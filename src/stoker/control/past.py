"""Past: how long jobs have run, as the policies ask that order by it; read from the store, so a restart forgets
nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from stoker.job import FINAL, Job, JobKind, JobState
from stoker.schedule import Policy
from stoker.schedule.lifetimes import Age, Experience, Lifetimes, kind_of
from stoker.schedule.policy import Order
from stoker.store.jobs import Filter, JobStore

_LOOK_S = 60.0  # between two looks at what has ended
_RECENT = 5000  # jobs that are looked back at in the beginning


class Past:
    """Used by one thread. What no policy asks for is not read."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._experience: Experience | None = None
        self._looked_at = 0.0
        self._served: dict[tuple[int, int], float] = {}  # job and its attempt -> seconds

    def served(self, policy: Policy, live: Iterable[Job]) -> Mapping[int, float]:
        """Seconds that the earlier attempts of `live` jobs ran."""
        if policy.order is Order.FIRST_COME:
            return {}
        earlier = {job.id: _attempts(job) for job in live if _attempts(job)}
        unknown = [job_id for job_id, attempts in earlier.items() if (job_id, attempts) not in self._served]
        found = self._store.served(unknown) if unknown else {}
        known = {**self._served, **{(job_id, earlier[job_id]): found.get(job_id, 0.0) for job_id in unknown}}
        self._served = {key: known[key] for key in earlier.items()}
        return {job_id: seconds for (job_id, _), seconds in self._served.items()}

    def lifetimes(self, policy: Policy, now: float, live: Iterable[Job], served: Mapping[int, float]) -> Lifetimes:
        """What ended and `live` jobs tell of how long jobs run."""
        if policy.order is not Order.LIKELY_END:
            return Lifetimes()
        if self._experience is None:
            self._experience = Experience()
            for job in reversed(self._store.find(Filter(states=tuple(FINAL)), limit=_RECENT)):
                self._note(job)
            self._looked_at = now
        elif now - self._looked_at >= _LOOK_S:
            for job in self._store.ended_since(self._looked_at):
                self._note(job)
            self._looked_at = now
        return self._experience.lifetimes(now, lambda: _ages(live, served, now))

    def _note(self, job: Job) -> None:
        if self._experience is not None and job.started_at is not None and job.ended_at is not None:
            self._experience.ended(job, max(0.0, job.ended_at - job.started_at))


def _attempts(job: Job) -> int:
    """How many have ended."""
    return job.attempt if job.state is JobState.PENDING else job.attempt - 1


def _ages(live: Iterable[Job], served: Mapping[int, float], now: float) -> Iterable[Age]:
    for job in live:
        runs = job.started_at if job.state is not JobState.PENDING else None
        seconds = served.get(job.id, 0.0) + (now - runs if runs is not None else 0.0)
        if seconds > 0 and job.spec.kind is not JobKind.SERVICE:
            yield Age(kind_of(job), seconds, ended=False)
