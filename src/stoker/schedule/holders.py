"""Holders: who has what a waiting job could use, and who goes before it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from stoker.cluster import Node
from stoker.explanation import Ahead, Holder
from stoker.foreign import ForeignJob
from stoker.job import Job
from stoker.schedule.case import Case
from stoker.schedule.lasting import devices_of


def holding(case: Case) -> list[Job]:
    """The active jobs that hold something of a node that this job could use."""
    nodes = case.field.layout.nodes
    mine = {(nodes[row].engine, nodes[row].name) for row in np.flatnonzero(case.could)}
    # A machine of two engines is held through either.
    twins = {
        (nodes[twin].engine, nodes[twin].name) for row in np.flatnonzero(case.could)
        for twin in case.field.layout.twins[row]
    }  # fmt: skip
    wanted = mine | twins
    return [
        job for job in case.snapshot.active
        if any((job.engine, placement.node) in wanted for placement in job.placements)
    ]  # fmt: skip


def holders(case: Case, held_by: Sequence[Job]) -> list[Holder]:
    """Those that end first at the top, those that nobody knows an end of last."""
    own = [_holder(job) for job in held_by]
    wanted = {node.name for node in _could_nodes(case)}
    foreign = [_foreign(other) for other in case.snapshot.others if any(one.node in wanted for one in other.held)]
    return sorted([*own, *foreign], key=lambda one: (one.until is None, one.until or 0.0, one.job))


def _could_nodes(case: Case) -> Iterator[Node]:
    return (case.field.layout.nodes[row] for row in np.flatnonzero(case.could))


def _holder(job: Job) -> Holder:
    limit = job.spec.time_limit
    until = None if limit is None or job.started_at is None else job.started_at + limit + job.spec.grace
    devices = sum(len(placement.devices) for placement in job.placements)
    cpus = job.spec.resources.cpus * len(job.placements)
    return Holder(job.label, job.spec.name, job.owner, job.tenant, devices, cpus, until)


def _foreign(other: ForeignJob) -> Holder:
    devices, cpus = sum(one.devices for one in other.held), sum(one.cpus for one in other.held)
    return Holder(other.id, other.name, other.owner, "", devices, cpus, None, engine=other.engine)


def ahead(job: Job) -> Ahead:
    spec = job.spec
    return Ahead(job.label, spec.name, job.owner, job.tenant, spec.priority, devices_of(job), spec.nodes)
