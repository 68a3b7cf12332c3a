"""Case: all that the questions about one waiting job rest on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from stoker.job import Job, JobSpec
from stoker.schedule.elastic import least
from stoker.schedule.field import Field, away_from_here
from stoker.schedule.layout import Bools
from stoker.schedule.line import Line
from stoker.schedule.pool import Pool
from stoker.schedule.refusals import OPEN, Refusals, refusals
from stoker.schedule.snapshot import Plan, Preempt, Reserved, Snapshot

ROOM = ("Resources", "Priority", "ReqNodeNotAvail", "EngineAway")  # reasons of a plan that room is missing
_NOT_IN_LINE = ("Dependency", "DependencyNeverSatisfied", "BeginTime")  # and those why nobody looked for room yet


@dataclass(frozen=True)
class Case:
    """All that the questions about one job rest on."""

    snapshot: Snapshot
    job: Job
    plan: Plan
    pool: Pool
    before: Field  # what is free
    field: Field  # what is free once the plan's starts are taken out
    found: Refusals
    spec: JobSpec  # as a place is looked for: only models of which its queue may have more
    first: Sequence[Job]  # jobs that wait and were considered before it, in order

    @classmethod
    def of(cls, snapshot: Snapshot, job: Job, plan: Plan) -> Case:
        present = [node for node in snapshot.nodes if node.engine not in snapshot.away]
        away = tuple(node for node in snapshot.nodes if node.engine in snapshot.away)
        pool = Pool()
        before = pool.at(present, snapshot.active, snapshot.others, snapshot.mix).copy()
        field = before.copy()
        for start in plan.starts:
            if start.job.id != job.id:
                field.take(start.job.spec, start.engine, start.placements)
        spec = _narrowed(snapshot, job, plan)
        kept: list[Reserved | Preempt] = [one for owner, one in plan.reserved.items() if owner != job.id]
        kept += [one for one in plan.preempts if one.job.id != job.id]
        found = refusals(field, job.spec, reserved=_rows(field, kept), away=away)
        return cls(snapshot, job, plan, pool, before, field, found, spec, _before(snapshot, job, plan))

    @property
    def could(self) -> Bools:
        """Rows of nodes that could hold one node's part, once they are empty."""
        return self.found.of(OPEN)

    def most(self, rows: Bools) -> int:
        """The most of these rows in one engine: a gang is of one engine."""
        return max((int(rows[some].sum()) for some in self.field.layout.engines.values()), default=0)

    @property
    def ahead(self) -> list[Job]:
        """Those of the first that wait for room."""
        return [one for one in self.first if self.plan.waits[one.id].reason in ROOM]

    @cached_property
    def rivals(self) -> list[Job]:
        """Those ahead that want a node which this job could use, too."""
        mine = self.could
        wants: dict[object, bool] = {}
        found = []
        for one in self.ahead:
            shape = _shape(one.spec)
            if shape not in wants:
                theirs = refusals(self.field, one.spec).of(OPEN)
                wants[shape] = bool((mine & theirs).any())
            if wants[shape]:
                found.append(one)
        return found

    @property
    def line(self) -> list[Job]:
        """The jobs on which its start hangs, in order: its rivals, and those that a limit keeps as well."""
        rivals = {one.id for one in self.rivals}
        return [one for one in self.first if one.id in rivals or self.plan.waits[one.id].reason not in ROOM]


def _narrowed(snapshot: Snapshot, job: Job, plan: Plan) -> JobSpec:
    line = Line(snapshot)
    for start in plan.starts:
        line.started(start.job, start.engine, start.placements)
    return line.narrowed(replace(job, spec=least(job.spec)))


def _shape(spec: JobSpec) -> object:
    """What decides which nodes could hold it."""
    return spec.resources, spec.engine, spec.sites, spec.tolerations, away_from_here(spec)


def _before(snapshot: Snapshot, job: Job, plan: Plan) -> list[Job]:
    """The jobs that were considered before `job` and wait: a plan tells of them in their order."""
    by_id = {one.id: one for one in snapshot.pending}
    found: list[Job] = []
    for job_id, wait in plan.waits.items():
        if job_id == job.id:
            return found
        if wait.reason not in _NOT_IN_LINE and job_id in by_id:
            found.append(by_id[job_id])
    return []


def _rows(field: Field, kept: Sequence[Reserved | Preempt]) -> Bools:
    places = {(one.engine, placement.node) for one in kept for placement in one.placements}
    return np.array([(node.engine, node.name) in places for node in field.layout.nodes], dtype=np.bool_)
