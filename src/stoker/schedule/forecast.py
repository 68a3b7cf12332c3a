"""Forecast: when a waiting job will start, if nobody new comes.

The likely start is a replay (`replay`) in which what runs ends when its like usually ended (`lasting`). The latest
one is that of a line without backfill in which all use their whole time limit. How far the likely one is off is
measured: each forecast is kept and compared with what came.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from stoker.explanation import Accuracy, Cause, Change, ChangeKind, Forecast, Value
from stoker.job import Job, JobSpec, Placement
from stoker.queue import DEFAULT
from stoker.schedule.case import Case
from stoker.schedule.changes import by_displacing, other_queues, submitted_to
from stoker.schedule.elastic import least
from stoker.schedule.lasting import Lasting
from stoker.schedule.replay import start_of

HELD_UP = (Cause.RESOURCES, Cause.FRAGMENTATION, Cause.TOPOLOGY, Cause.RESERVATION, Cause.PRIORITY)
_LIMITED = (Cause.QUOTA, Cause.ARRAY_LIMIT)  # what runs has to end here, too
_QUEUES = 3  # others in which a start is looked for
_SOONER = 0.8  # of the wait here: what is less different is not worth to submit anew
_STEPS = 64  # moments looked at among the ends of what runs
_FOLLOWED = 500  # jobs ahead that are followed one by one; of more the pace of the first ones is taken


class _End(NamedTuple):
    at: float
    number: int  # so that no two are equal
    spec: JobSpec
    engine: str
    placements: Sequence[Placement]


def forecast(case: Case, cause: Cause, holding: Sequence[Job], lasting: Lasting, accuracy: Accuracy) -> Forecast:
    """`holding` are the jobs that hold something it could use."""
    now = case.snapshot.now
    told = Forecast(learnt=lasting.count, accuracy=accuracy)
    if cause is Cause.STARTING:
        return replace(told, at=now, latest=now)
    if cause is Cause.PREEMPTING:
        gone = now + max((_notice(one) for one in _going_for(case)), default=0.0)
        return replace(told, at=gone, latest=gone)
    if cause not in (*HELD_UP, *_LIMITED):
        return replace(told, why="blocked")
    latest = _latest(case, holding) if cause in HELD_UP else None
    at = _likely(case, lasting)
    displacing = by_displacing(case.snapshot, case.job, case.plan, case.pool)
    if displacing is not None and (at is None or displacing < at):
        return replace(told, at=displacing, latest=displacing)
    if at is None:
        stays = cause in _LIMITED and all(lasting.left(one) is not None for one in case.snapshot.active)
        return replace(told, why="blocked" if stays else "endless")
    at = at if latest is None else min(at, latest)
    low = None if accuracy.low is None else now + (at - now) * accuracy.low
    high = None if accuracy.high is None else now + (at - now) * accuracy.high
    return replace(told, at=at, latest=latest, low=low, high=high)


def elsewhere(case: Case, at: float | None, lasting: Lasting) -> tuple[Change, ...]:
    """The queue in which it would start soonest, where that is clearly before `at`; None: that is not known."""
    now, best = case.snapshot.now, None
    for name in other_queues(case.snapshot, case.job)[:_QUEUES]:
        moved = submitted_to(name, case.snapshot, case.job)
        there = [
            one for one in case.snapshot.pending if (one.spec.queue or DEFAULT) == name and one.id != case.job.id
        ]
        line = [*(start.job for start in case.plan.starts), *case.rivals[:_FOLLOWED], *there[:_FOLLOWED], moved]
        found = start_of(moved, case.snapshot, case.plan, line, lasting.left, case.pool)
        if found is not None and (best is None or found < best[0]):
            best = found, name
    if best is None or (at is not None and best[0] - now > _SOONER * (at - now)):
        return ()
    values: dict[str, Value] = {"queue": best[1], "was": case.job.spec.queue or DEFAULT, "in_s": best[0] - now}
    return (Change(ChangeKind.QUEUE_LATER, values | {"at": best[0]}, 0.9),)


def _notice(job: Job) -> float:
    return job.spec.warning + job.spec.grace


def _going_for(case: Case) -> list[Job]:
    """Those that are ended for it."""
    going = [one for one in case.snapshot.active if one.gives_way_to == case.job.id]
    return going + [one for plan in case.plan.preempts if plan.job.id == case.job.id for one in plan.victims]


def _likely(case: Case, lasting: Lasting) -> float | None:
    snapshot, line = case.snapshot, case.line
    first = [*(start.job for start in case.plan.starts), *line[:_FOLLOWED], case.job]
    at = start_of(case.job, snapshot, case.plan, first, lasting.left, case.pool)
    return None if at is None else snapshot.now + (at - snapshot.now) * _pace(line)


def _pace(line: Sequence[Job]) -> float:
    return max(1.0, len(line) / _FOLLOWED)


def _latest(case: Case, holding: Sequence[Job]) -> float | None:
    """When the job fits if those ahead go strictly in line and all end at their limit; None: not known."""
    now, rivals, field = case.snapshot.now, case.rivals, case.field.copy()
    ends = [end for number, one in enumerate(holding) if (end := _end(one, number, now)) is not None]
    heapq.heapify(ends)
    line = [*rivals[:_FOLLOWED], case.job]
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
            seconds = _at_its_limit(one, 0.0)
            if seconds is not None:
                heapq.heappush(ends, _End(at + seconds, len(holding) + next_one, one.spec, engine, placements))
        if next_one == len(line):
            return now + (at - now) * _pace(rivals)
        if not ends:
            return None
        for _ in range(min(step, len(ends))):
            end = heapq.heappop(ends)
            field.give(end.spec, end.engine, end.placements)
            at = max(at, end.at)


def _end(job: Job, number: int, now: float) -> _End | None:
    began = job.started_at if job.started_at is not None else now
    seconds = _at_its_limit(job, max(0.0, now - began))
    if seconds is None or not math.isfinite(seconds):
        return None
    return _End(now + seconds, number, job.spec, job.engine, job.placements)


def _at_its_limit(job: Job, elapsed: float) -> float | None:
    limit = job.spec.time_limit
    return None if limit is None else max(0.0, limit - elapsed) + job.spec.grace
