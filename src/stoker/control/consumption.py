"""Consumption: what queues and users had of late, kept over restarts. Fair shares over time are made of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from stoker.job import Job
from stoker.queue import Queue, Usage
from stoker.schedule import Meter, Quantity
from stoker.store.jobs import JobStore
from stoker.store.queues import QueueStore

_NOTE_S = 60.0  # between two notes in the store; what a kill loses of it is found again in the jobs


class Consumption:
    """Used by one thread. It begins with the first queue: without any nothing asks for it."""

    def __init__(self, store: QueueStore, jobs: JobStore) -> None:
        self._store = store
        self._jobs = jobs
        self._meter: Meter | None = None
        self._noted_at = 0.0

    def until(self, now: float, queues: Mapping[str, Queue], active: Iterable[Job], quantity: Quantity) -> Usage:
        """What was used up to `now`, when `active` has been all that ran since the last call."""
        if not queues:
            self._meter = None
            return {}
        if self._meter is None:
            self._meter = self._read(now, queues, quantity)
        self._meter.advance(now, active, queues, quantity)
        used = self._meter.used
        if now - self._noted_at >= _NOTE_S:
            self._store.note(used, now)
            self._noted_at = now
        return used

    def forget(self) -> None:
        """Read the store again next time: another process may have gone on."""
        self._meter = None

    def _read(self, now: float, queues: Mapping[str, Queue], quantity: Quantity) -> Meter:
        """What was noted last, and what jobs have held since then, also while nobody looked."""
        noted, at = self._store.usage()
        meter = Meter(now if at is None else at, noted)
        if meter.at < now:
            live, _ = self._jobs.live()
            begun = [job for job in (*live, *self._jobs.ended_since(meter.at)) if job.started_at is not None]
            meter.advance(now, begun, queues, quantity)
        return meter
