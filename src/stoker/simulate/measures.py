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
    # None: there is no inference beside the jobs
    unmet: float | None = None  # seconds in which fewer replicas answered than inference needed
    missing: float | None = None  # replica-seconds that were needed and not there
    lent: float | None = None  # device-seconds up to the ceiling of replicas that inference left to others


def measure(outcome: Outcome) -> Measures:
    """Replicas of inference count as held devices; all else is about the jobs of the trace."""
    jobs = [job for job in outcome.jobs if not job.serving]
    ended = [job for job in jobs if job.ended_at is not None]
    held = math.fsum(job.held for job in jobs)
    begin = min((job.submitted_at for job in jobs), default=0.0)
    makespan = max((job.ended_at or 0.0 for job in ended), default=0.0) - begin
    due = [job for job in jobs if job.deadline is not None]
    served = outcome.served
    return Measures(
        jobs=len(jobs),
        ended=len(ended),
        refused=sum(outcome.refused.values()),
        makespan=makespan,
        allocation=_over_time(outcome, lambda moment: moment.busy),
        waiting_idle=_over_time(outcome, lambda moment: min(outcome.devices - moment.busy, moment.wanted)),
        broken=_over_time(outcome, lambda moment: moment.broken),
        completion=spread(job.completion or 0.0 for job in ended),
        queueing=spread(job.queueing or 0.0 for job in ended),
        slowdown=spread(_slowdown(job) for job in ended),
        preemptions=sum(job.preemptions for job in jobs),
        lost=math.fsum(job.devices * job.lost for job in jobs),
        starting=math.fsum(job.devices * job.starting for job in jobs),
        deadlines=len(due),
        missed=sum(job.ended_at is None or job.ended_at > (job.deadline or 0.0) for job in due),
        fairness=jain([mean for _, mean in slowdowns(outcome)]),
        shares={name: part / held if held else 0.0 for name, part in _held(jobs).items()},
        unmet=served.missed if served else None,
        missing=served.missing if served else None,
        lent=served.lent if served else None,
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


def slowdowns(outcome: Outcome) -> list[tuple[str, float]]:
    """Tenants with the mean slowdown of their jobs that have ended, the least first."""
    found: dict[str, list[float]] = {}
    for job in outcome.jobs:
        if job.ended_at is not None and not job.serving:
            found.setdefault(job.tenant, []).append(_slowdown(job))
    means = [(tenant, math.fsum(values) / len(values)) for tenant, values in found.items()]
    return sorted(means, key=lambda one: one[1])


def _held(jobs: Sequence[JobOutcome]) -> dict[str, float]:
    found: dict[str, float] = {}
    for job in jobs:
        found[job.tenant] = found.get(job.tenant, 0.0) + job.held
    return found


def _over_time(outcome: Outcome, value: Callable[[Moment], float]) -> float:
    """The mean of `value` over time, by all devices."""
    moments = outcome.moments
    total = math.fsum(value(here) * (after.at - here.at) for here, after in pairwise(moments))
    span = moments[-1].at - moments[0].at if moments else 0.0
    return total / (span * outcome.devices) if span and outcome.devices else 0.0
