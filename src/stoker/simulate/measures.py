"""What an outcome amounts to, in the figures that schedulers are compared by."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from stoker.simulate.outcome import JobOutcome, Moment, Outcome


@dataclass(frozen=True)
class Spread:
    """Of a quantity over jobs, in seconds."""

    mean: float
    median: float
    p95: float
    p99: float
    most: float


@dataclass(frozen=True)
class Measures:
    jobs: int
    ended: int
    refused: int
    makespan: float  # seconds from the first submission to the last end
    allocation: float  # share of all device-seconds until then that were held
    waiting_idle: float  # share of all devices that stood idle while somebody waited, averaged over time
    broken: float  # share of all devices that were free on partly held nodes, averaged over time
    completion: Spread  # job completion time (JCT)
    queueing: Spread
    slowdown: Spread  # completion by work, of jobs of 10 s and more as if they were that long
    preemptions: int
    lost: float  # device-seconds of work that were done twice
    starting: float  # device-seconds spent in starts
    deadlines: int  # jobs that had one
    missed: int  # of them
    fairness: float  # Jain's index over tenants of mean slowdown; 1: all alike
    shares: Mapping[str, float]  # tenant -> share of the device-seconds that were held


def measure(outcome: Outcome) -> Measures:
    ended = [job for job in outcome.jobs if job.ended_at is not None]
    held = math.fsum(job.devices * job.served for job in outcome.jobs)
    begin = min((job.submitted_at for job in outcome.jobs), default=0.0)
    makespan = max((job.ended_at or 0.0 for job in ended), default=0.0) - begin
    room = outcome.devices * makespan
    due = [job for job in outcome.jobs if job.deadline is not None]
    return Measures(
        jobs=len(outcome.jobs),
        ended=len(ended),
        refused=sum(outcome.refused.values()),
        makespan=makespan,
        allocation=held / room if room else 0.0,
        waiting_idle=_over_time(outcome, lambda moment: min(outcome.devices - moment.busy, moment.wanted)),
        broken=_over_time(outcome, lambda moment: moment.broken),
        completion=spread(job.completion or 0.0 for job in ended),
        queueing=spread(job.queueing or 0.0 for job in ended),
        slowdown=spread(_slowdown(job) for job in ended),
        preemptions=sum(job.preemptions for job in outcome.jobs),
        lost=math.fsum(job.devices * job.lost for job in outcome.jobs),
        starting=math.fsum(job.devices * job.starting for job in outcome.jobs),
        deadlines=len(due),
        missed=sum(job.ended_at is None or job.ended_at > (job.deadline or 0.0) for job in due),
        fairness=jain(_by_tenant(ended)),
        shares={name: part / held if held else 0.0 for name, part in _held(outcome.jobs).items()},
    )


def spread(values: Iterable[float]) -> Spread:
    """Percentiles are those of the next job above."""
    ordered = sorted(values)
    if not ordered:
        return Spread(0.0, 0.0, 0.0, 0.0, 0.0)

    def percentile(share: float) -> float:
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    mean = math.fsum(ordered) / len(ordered)
    return Spread(mean, percentile(0.5), percentile(0.95), percentile(0.99), ordered[-1])


def jain(values: Sequence[float]) -> float:
    """Jain's fairness index (1984): (sum x)^2 / (n sum x^2), from 1/n to 1."""
    squares = math.fsum(value * value for value in values)
    return math.fsum(values) ** 2 / (len(values) * squares) if squares else 1.0


def _slowdown(job: JobOutcome) -> float:
    """Bounded slowdown (Feitelson 2001), with 10 s."""
    return max(1.0, (job.completion or 0.0) / max(job.work, 10.0))


def _by_tenant(jobs: Sequence[JobOutcome]) -> list[float]:
    found: dict[str, list[float]] = {}
    for job in jobs:
        found.setdefault(job.tenant, []).append(_slowdown(job))
    return [math.fsum(values) / len(values) for values in found.values()]


def _held(jobs: Sequence[JobOutcome]) -> dict[str, float]:
    found: dict[str, float] = {}
    for job in jobs:
        found[job.tenant] = found.get(job.tenant, 0.0) + job.devices * job.served
    return found


def _over_time(outcome: Outcome, value: Callable[[Moment], float]) -> float:
    """The mean of `value` over time, by all devices."""
    moments = outcome.moments
    total = math.fsum(value(here) * (after.at - here.at) for here, after in pairwise(moments))
    span = moments[-1].at - moments[0].at if moments else 0.0
    return total / (span * outcome.devices) if span and outcome.devices else 0.0
