"""Meter: what queues and users used of late, as time goes on. It has no clock: it is told what ran until when."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from stoker.cluster import WHOLE
from stoker.job import Job
from stoker.queue import DEFAULT, Queue, Usage, accrued, decayed
from stoker.schedule.quantity import Quantity

_FORGOTTEN = 1.0  # device-seconds
_ANY = Queue(DEFAULT)


class Meter:
    """`used` is `stoker.queue.Usage` as of `at`."""

    def __init__(self, at: float, used: Usage | None = None) -> None:
        self.at = at
        self._used = dict(used or {})

    @property
    def used(self) -> Usage:
        return dict(self._used)

    def advance(self, now: float, active: Iterable[Job], queues: Mapping[str, Queue], quantity: Quantity) -> None:
        """Go on to `now`, when `active` is all that held something since; each from its start to its end."""
        if now <= self.at:
            return
        self._age(now - self.at, queues)
        for job in active:
            begun, ended = max(self.at, job.started_at or self.at), min(now, job.ended_at or now)
            self._add(job, begun, ended, now, queues, quantity)
        self.at = now

    def _age(self, seconds: float, queues: Mapping[str, Queue]) -> None:
        for key, used in list(self._used.items()):
            left = decayed(used, seconds, queues.get(key[0], _ANY).half_life)
            self._used[key] = left
            if left < _FORGOTTEN:
                del self._used[key]

    def _add(
        self, job: Job, begun: float, ended: float, now: float, queues: Mapping[str, Queue], quantity: Quantity
    ) -> None:
        """What `job` held from `begun` to `ended`, as it counts `now`."""
        milli = quantity.held(job.spec, job.engine, job.placements).milli
        if not milli or ended <= begun:
            return
        name = job.spec.queue if job.spec.queue in queues else DEFAULT
        half_life = queues.get(name, _ANY).half_life
        fresh = decayed(accrued(milli / WHOLE, ended - begun, half_life), now - ended, half_life)
        key = (name, (job.tenant, job.owner))
        self._used[key] = self._used.get(key, 0.0) + fresh
