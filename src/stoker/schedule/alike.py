"""Alike: how many jobs that ask for the same have no place yet in a pass.

What is freed by ending a large job serves several of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

from stoker.job import Job


class Alike:
    """Mutable; it counts only when it is asked for the first time."""

    def __init__(self, waiting: Sequence[Job]) -> None:
        self._waiting = waiting
        self._placed: set[int] = set()
        self._count: Counter[Hashable] | None = None

    def placed(self, job: Job) -> None:
        """It has got a place, now or once others are gone."""
        self._placed.add(job.id)
        if self._count is not None:
            self._count[_asks(job)] -= 1

    def of(self, job: Job) -> int:
        """Jobs like `job` without a place, itself included."""
        if self._count is None:
            self._count = Counter(_asks(one) for one in self._waiting if one.id not in self._placed)
        return self._count[_asks(job)]


def _asks(job: Job) -> Hashable:
    """Those for whom this is the same may take each other's place."""
    spec = job.spec
    return spec.resources, spec.nodes, spec.priority, spec.queue, job.tenant, job.owner
