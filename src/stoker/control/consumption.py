"""Consumption: what queues and users had of late, kept over restarts. Fair shares over time are made of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from stoker.job import Job
from stoker.queue import DEFAULT, Queue, Usage, accrued, decayed
from stoker.schedule import Quantity
from stoker.store.jobs import JobStore
from stoker.store.queues import QueueStore

_NOTE_S = 60.0  # between two notes in the store; what a kill loses of it is found again in the jobs
_FORGOTTEN = 1.0  # device-seconds
_ANY = Queue(DEFAULT)


class Consumption:
    """Used by one thread. It begins with the first queue: without any nothing asks for it."""

    def __init__(self, store: QueueStore, jobs: JobStore) -> None:
        self._store = store
        self._jobs = jobs
        self._used: dict[tuple[str, tuple[str, str]], float] = {}
        self._at: float | None = None
        self._noted_at = 0.0

    def until(self, now: float, queues: Mapping[str, Queue], active: Iterable[Job], quantity: Quantity) -> Usage:
        """What was used up to `now`, when `active` has been all that ran since the last call."""
        if not queues:
            self._at = None
            return {}
        if self._at is None:
            self._load(now, queues, quantity)
        elif now > self._at:
            self._add(now, self._at, queues, active, quantity)
            self._at = now
        if now - self._noted_at >= _NOTE_S:
            self._store.note(self._used, now)
            self._noted_at = now
        return dict(self._used)

    def forget(self) -> None:
        """Read the store again next time: another process may have gone on."""
        self._at = None

    def _add(
        self, now: float, since: float, queues: Mapping[str, Queue], active: Iterable[Job], quantity: Quantity
    ) -> None:
        self._age(now - since, queues)
        for job in active:
            begun = max(since, job.started_at or since)
            self._note(job, begun, now, now, queues, quantity)

    def _age(self, seconds: float, queues: Mapping[str, Queue]) -> None:
        for key, used in list(self._used.items()):
            left = decayed(used, seconds, queues.get(key[0], _ANY).half_life)
            self._used[key] = left
            if left < _FORGOTTEN:
                del self._used[key]

    def _note(
        self, job: Job, begun: float, ended: float, now: float, queues: Mapping[str, Queue], quantity: Quantity
    ) -> None:
        """Add what `job` held from `begun` to `ended`, as it counts `now`."""
        milli = quantity.held(job.spec, job.engine, job.placements).milli
        if not milli or ended <= begun:
            return
        name = job.spec.queue if job.spec.queue in queues else DEFAULT
        half_life = queues.get(name, _ANY).half_life
        fresh = decayed(accrued(milli / 1000, ended - begun, half_life), now - ended, half_life)
        key = (name, (job.tenant, job.owner))
        self._used[key] = self._used.get(key, 0.0) + fresh

    def _load(self, now: float, queues: Mapping[str, Queue], quantity: Quantity) -> None:
        """What was noted last, and what jobs have held since then, also while nobody looked."""
        noted, at = self._store.usage()
        self._used = dict(noted)
        if at is not None and at < now:
            self._age(now - at, queues)
            live, _ = self._jobs.live()
            for job in (*live, *self._jobs.ended_since(at)):
                if job.started_at is not None:
                    begun, ended = max(at, job.started_at), min(now, job.ended_at or now)
                    self._note(job, begun, ended, now, queues, quantity)
        self._at = now
