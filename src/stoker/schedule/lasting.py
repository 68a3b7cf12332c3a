"""Lasting: how long jobs really run as against their limits, learnt from those that have ended."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import NamedTuple

from stoker.job import Job

_ENOUGH = 5  # ended jobs of a kind, so that they say something


class Ran(NamedTuple):
    """A job that has ended by itself."""

    user: tuple[str, str]  # tenant and owner
    devices: int  # on all its nodes
    limit: float | None  # seconds
    seconds: float  # that it ran


class Lasting:
    """Asks the jobs of the same user and size first, then all of the user, then all of that size, then all."""

    def __init__(self, ran: Iterable[Ran] = ()) -> None:
        self.count = 0
        self._seconds: dict[object, list[float]] = {}
        self._shares: dict[object, list[float]] = {}  # of the limit, 0 to 1
        for one in ran:
            self.count += 1
            for kind in ((one.user, one.devices), one.user, one.devices, None):
                self._seconds.setdefault(kind, []).append(one.seconds)
                if one.limit:
                    self._shares.setdefault(kind, []).append(min(1.0, one.seconds / one.limit))
        for known in (*self._seconds.values(), *self._shares.values()):
            known.sort()

    def left(self, job: Job, elapsed: float = 0.0) -> float | None:
        """Seconds that `job`, which ran for `elapsed`, is likely to run on; None: nobody knows.

        The median of those that ran longer than it did. With a limit it is their share of the limit that counts.
        """
        limit = job.spec.time_limit
        if limit is not None:
            share = _middle_above(self._of(self._shares, job), elapsed / limit)
            return max(0.0, (limit if share is None else share * limit) - elapsed)
        seconds = _middle_above(self._of(self._seconds, job), elapsed)
        return None if seconds is None else seconds - elapsed

    def _of(self, known: dict[object, list[float]], job: Job) -> list[float]:
        user, devices = (job.tenant, job.owner), devices_of(job)
        kinds = ((user, devices), user, devices, None)
        return next((found for kind in kinds if len(found := known.get(kind, [])) >= _ENOUGH), [])


def devices_of(job: Job) -> int:
    """Devices on all its nodes."""
    return job.spec.nodes * job.spec.resources.accelerators


def _middle_above(known: list[float], floor: float) -> float | None:
    first = bisect_right(known, floor)
    return known[(first + len(known)) // 2] if first < len(known) else None
