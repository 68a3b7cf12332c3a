"""Forecast: when a waiting job will start, if those ahead of it start in their order and nobody new comes.

What runs ends when its like usually ended (`lasting`), at its limit at the latest. Jobs start strictly in line
here, without backfill past one that does not fit. How far that is off is measured: each forecast is kept and
compared with what came.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from stoker.explanation import Accuracy, Forecast
from stoker.job import Job, JobSpec, Placement
from stoker.schedule.elastic import least
from stoker.schedule.field import Field
from stoker.schedule.lasting import Lasting

_STEPS = 64  # moments looked at among the ends of what runs
_FOLLOWED = 500  # jobs ahead that are followed one by one; of more the pace of the first ones is taken

Length = Callable[[Job, float], float | None]  # seconds that a job runs on, after seconds it ran


class _End(NamedTuple):
    at: float
    number: int  # so that no two are equal
    spec: JobSpec
    engine: str
    placements: Sequence[Placement]


def forecast(
    now: float, job: Job, rivals: Sequence[Job], active: Iterable[Job], field: Field, lasting: Lasting,
    accuracy: Accuracy,
) -> Forecast:  # fmt: skip
    """`rivals` go ahead of `job`, in order; `active` hold what it could use of `field`."""
    holding = list(active)
    latest = _start(now, job, rivals, holding, field.copy(), _at_its_limit)
    likely = _start(now, job, rivals, holding, field.copy(), lasting.left)
    if likely is None:
        return Forecast(why="endless", learnt=lasting.count, accuracy=accuracy)
    ahead = likely - now
    low = None if accuracy.low is None else now + ahead * accuracy.low
    high = None if accuracy.high is None else now + ahead * accuracy.high
    return Forecast(likely, latest, low, high, learnt=lasting.count, accuracy=accuracy)


def _at_its_limit(job: Job, elapsed: float) -> float | None:
    limit = job.spec.time_limit
    return None if limit is None else max(0.0, limit - elapsed) + job.spec.grace


def _start(
    now: float, job: Job, rivals: Sequence[Job], active: Sequence[Job], field: Field, length: Length
) -> float | None:
    """When `job` fits, as those that hold something end after their `length`; None: that is not known."""
    ends = [end for number, one in enumerate(active) if (end := _end(one, number, now, length)) is not None]
    heapq.heapify(ends)
    line = [*rivals[:_FOLLOWED], job] if len(rivals) > _FOLLOWED else [*rivals, job]
    step = max(1, len(ends) // _STEPS)
    at, next_one = now, 0
    while True:
        while next_one < len(line):
            one = line[next_one]
            engine, placements = field.fit(least(one.spec))
            if not placements:
                break
            field.take(one.spec, engine, placements)
            next_one += 1
            seconds = length(one, 0.0)
            if seconds is not None:
                heapq.heappush(ends, _End(at + seconds, len(active) + next_one, one.spec, engine, placements))
        if next_one == len(line):
            return now + (at - now) * max(1.0, len(rivals) / _FOLLOWED)
        if not ends:
            return None
        for _ in range(min(step, len(ends))):
            end = heapq.heappop(ends)
            field.give(end.spec, end.engine, end.placements)
            at = max(at, end.at)


def _end(job: Job, number: int, now: float, length: Length) -> _End | None:
    began = job.started_at if job.started_at is not None else now
    seconds = length(job, max(0.0, now - began))
    if seconds is None or not math.isfinite(seconds):
        return None
    return _End(now + seconds, number, job.spec, job.engine, job.placements)
