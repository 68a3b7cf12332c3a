"""Elastic jobs: they run on as many nodes as there are for them, between `min_nodes` and `nodes`.

One starts with fewer nodes when that is what fits. It shrinks by being preempted: it goes back to the queue, and
starts from its checkpoint on what is left. It grows the same way, when nobody waits for the room and what it gains
is worth what the restart loses:

    (more nodes) x (devices of each) x (time it still runs)  >  _WORTH x (device-seconds lost)

How long it still runs nobody knows; as long as it has run already is the best guess without knowing more (Lindy),
and its time limit bounds it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from stoker.cluster import WHOLE
from stoker.job import Job, JobSpec, JobState
from stoker.schedule.policy import Policy
from stoker.schedule.victims import lost

_WORTH = 2.0  # a restart may also go wrong


def least(spec: JobSpec) -> JobSpec:
    """`spec` asking for no more nodes than it can do with."""
    return replace(spec, nodes=spec.min_nodes) if spec.min_nodes else spec


def largest(spec: JobSpec, fits: Callable[[JobSpec], bool]) -> JobSpec | None:
    """`spec` with the most nodes that fit; None when not even the fewest do. More nodes never fit better."""
    if fits(spec):
        return spec
    low, high = spec.min_nodes or spec.nodes, spec.nodes  # high does not fit
    if low == high or not fits(replace(spec, nodes=low)):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(replace(spec, nodes=middle)) else (low, middle)
    return replace(spec, nodes=low)


def could_grow(job: Job) -> bool:
    return (
        job.state is JobState.RUNNING
        and bool(job.spec.min_nodes)
        and job.spec.returns
        and len(job.placements) < job.spec.nodes
        and not job.cancel_requested
    )


def worth_it(job: Job, nodes: int, now: float, policy: Policy) -> bool:
    """Whether `job`, which runs, should start again on so many nodes instead of those it has."""
    if job.started_at is None:
        return False
    ran = now - job.started_at
    left = ran if job.spec.time_limit is None else min(ran, job.spec.time_limit - ran)
    need = job.spec.resources
    each = need.accelerators * need.milli / WHOLE or 1.0
    return (nodes - len(job.placements)) * each * left > _WORTH * lost(job, now, policy)
