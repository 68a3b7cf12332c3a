"""Reclaim: what an endpoint can take back from those it has lent to, within which time, and how long that took."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

KEPT = 50  # returns that an endpoint remembers


@dataclass(frozen=True)
class Return:
    """A replica that came, and how long it took."""

    at: float  # when it answered
    displaced: int  # jobs that were ended for it
    device: float  # seconds from the decision to its start
    answer: float  # seconds from the decision to the first request that it could take


@dataclass(frozen=True)
class Measured:
    """Seconds, of the last returns for which somebody had to go."""

    count: int
    device_p50: float
    device_p95: float
    answer_p50: float
    answer_p95: float


@dataclass(frozen=True)
class Reclaim:
    """What it could have now, beyond what it has."""

    replicas: int  # up to its ceiling
    devices: int  # that these would have
    free: int  # of the replicas: start at once
    within: float  # seconds until the last of them has its devices: the longest notice of those who would go
    measured: Measured | None = None  # None: nobody had to go for it yet


def measured(returns: Iterable[Return]) -> Measured | None:
    late = [one for one in returns if one.displaced]
    if not late:
        return None
    devices, answers = sorted(one.device for one in late), sorted(one.answer for one in late)
    return Measured(len(late), _of(devices, 0.5), _of(devices, 0.95), _of(answers, 0.5), _of(answers, 0.95))


def _of(ordered: list[float], share: float) -> float:
    """The least value that `share` of them do not exceed."""
    return ordered[math.ceil(share * len(ordered)) - 1]
