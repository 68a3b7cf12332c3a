"""Rank: where the policy's order puts a job among those of its queue and priority."""

from __future__ import annotations

import math
from collections.abc import Callable

from stoker.job import Job, JobState
from stoker.schedule.lifetimes import kind_of
from stoker.schedule.policy import Order
from stoker.schedule.snapshot import Snapshot

Rank = Callable[[Job], float]

_LEAD = 2.0


def rank_of(snapshot: Snapshot) -> Rank | None:
    """Lower goes first; who came first among equals. None: the order is first come, and needs no rank."""
    policy, lifetimes = snapshot.policy, snapshot.lifetimes
    unit, step = policy.service_unit, math.log(policy.service_step)

    def service(job: Job) -> float:
        attained = _devices(job) * _ran(job, snapshot)
        return 0.0 if attained < unit else unit * math.exp(step * math.floor(math.log(attained / unit) / step))

    def likely(job: Job) -> float:
        return -lifetimes.of(kind_of(job), _ran(job, snapshot)) / _devices(job)

    def left(job: Job) -> float:
        limit = job.spec.time_limit
        return math.inf if limit is None else max(0.0, limit - _ran(job, snapshot))

    def smallest(job: Job) -> float:
        return left(job) * _devices(job)

    return {
        Order.LEAST_SERVICE: service,
        Order.LIKELY_END: likely,
        Order.SHORTEST: left,
        Order.SMALLEST: smallest,
    }.get(policy.order)


def far_ahead(rank: float, other: float) -> bool:
    """Whether a job of `rank` is so much more urgent than one of `other` that this one may be ended for it.

    Half is enough: what is learnt of lifetimes is uncertain, and jobs that are alike would only change places.
    """
    half = other / _LEAD if other > 0 else other * _LEAD  # the lower, the more urgent
    return rank < other and rank <= half


def _ran(job: Job, snapshot: Snapshot) -> float:
    """Seconds that it has held its devices, in all attempts."""
    runs = job.started_at is not None and job.state is not JobState.PENDING
    return snapshot.served.get(job.id, 0.0) + (max(0.0, snapshot.now - (job.started_at or 0.0)) if runs else 0.0)


def _devices(job: Job) -> float:
    """At least a tenth: jobs without devices hold room, too."""
    need = job.spec.resources
    return max(0.1, job.spec.nodes * need.accelerators * need.milli / 1000)
