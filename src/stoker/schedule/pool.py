"""Pool: what of one pass is of use to the next. It changes how long a decision takes, never the decision.

From pass to pass little changes: a node, some jobs that began or ended. The pool compares a snapshot with the one
before, and brings the field to where a fresh one would be; the scores that shapes gave to all other nodes stay.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from stoker.cluster import Node
from stoker.foreign import ForeignJob, Held
from stoker.job import Job, Placement
from stoker.schedule.field import Field
from stoker.schedule.layout import Layout, layout_of
from stoker.schedule.log import NEVER
from stoker.schedule.mix import Mix, usual_mix
from stoker.schedule.policy import Policy
from stoker.schedule.room import Room
from stoker.schedule.speed import Speeds
from stoker.schedule.worth import USUAL, Outlook, worth_of


class Pool:
    """Used by one thread. What its field was changed by since the last call of `at` is undone by the next."""

    def __init__(self) -> None:
        self._nodes: Sequence[Node] = ()
        self._mix: Mix = ()
        self._outlook = USUAL
        self._whole = True  # else the last snapshot was not taken in to its end: it raised an error
        self._told = NEVER  # the log's mark when all was as the snapshot said
        self._build(())

    def at(
        self,
        nodes: Iterable[Node],
        active: Iterable[Job],
        others: Iterable[ForeignJob] = (),
        mix: Mix | None = None,
        speeds: Speeds | None = None,
        policy: Policy | None = None,
    ) -> Field:
        """Free room: without what `active` jobs and those of others hold; `mix` is what is likely to come, `speeds`
        how fast jobs are expected to be, and `policy` says what free room is worth."""
        if not self._whole:
            self._nodes = ()
            self._build(())
        self._whole = False
        changed = self._look_at_nodes(tuple(nodes), mix or usual_mix(), _outlook(policy))
        self.field.expect(speeds or {})
        changed.update(self.field.log.since(self._told).tolist())
        changed |= self._look_at_jobs(active)
        changed |= self._look_at_others(others)
        self._put(changed)
        self.field.tidy()
        self._told = self.field.log.end
        self._whole = True
        return self.field

    def _build(self, nodes: tuple[Node, ...]) -> None:
        layout = layout_of(nodes)
        self._ours = Room.of(layout)  # with our jobs taken out, and not those of others
        self._jobs: dict[int, Job] = {}
        self._on: dict[int, dict[int, Placement]] = {}  # row -> job -> what it holds there
        self._others: Sequence[ForeignJob] = ()
        self._theirs: dict[int, list[Held]] = {}  # row -> what others hold there
        self.field = Field(layout, worth_of(self._mix or usual_mix(), layout.models, self._outlook))
        self._told = NEVER

    # nodes

    def _look_at_nodes(self, nodes: tuple[Node, ...], mix: Mix, outlook: Outlook) -> set[int]:
        """The rows whose node has changed."""
        before, self._nodes = self._nodes, nodes
        otherwise = (mix is not self._mix and mix != self._mix) or outlook != self._outlook
        self._mix, self._outlook = mix, outlook
        different = [at for at, (old, new) in enumerate(zip(before, nodes, strict=False)) if old is not new != old]
        layout = self.field.layout
        renewed = layout.renewed({at: nodes[at] for at in different}) if len(before) == len(nodes) else None
        if renewed is None:
            self._build(nodes)
            return set()
        if different:
            self._renew(renewed, different)
        if otherwise:
            self.field.rework(worth_of(mix, layout.models, outlook))
        return set(different)

    def _renew(self, layout: Layout, different: Sequence[int]) -> None:
        rows = np.array(different)
        self.field.renew(layout, rows)
        self._ours.empty(layout, rows)
        for row in different:
            for job_id, placement in self._on.get(row, {}).items():
                self._ours.change(row, self._jobs[job_id].spec, placement, -1)

    # jobs

    def _look_at_jobs(self, active: Iterable[Job]) -> set[int]:
        """The rows on which our jobs hold something else than before."""
        now = {job.id: job for job in active}
        changed: set[int] = set()
        known = self._jobs
        for job_id in known.keys() - now.keys():
            self._remove(known[job_id], changed)
        for job_id, job in now.items():
            before = known.get(job_id)
            if before is job:
                continue
            if before is not None:
                if _alike(before, job):
                    continue
                self._remove(before, changed)
            self._add(job, changed)
        self._jobs = now
        return changed

    def _add(self, job: Job, changed: set[int]) -> None:
        for row, placement in self._ours.rows(job.engine, job.placements):
            self._ours.change(row, job.spec, placement, -1)
            self._on.setdefault(row, {})[job.id] = placement
            changed.add(row)

    def _remove(self, job: Job, changed: set[int]) -> None:
        for row, placement in self._ours.rows(job.engine, job.placements):
            self._ours.change(row, job.spec, placement, 1)
            self._on[row].pop(job.id, None)
            changed.add(row)

    def _look_at_others(self, others: Iterable[ForeignJob]) -> set[int]:
        """The rows on which others hold something else than before."""
        now = tuple(others)
        if now == self._others:
            return set()
        self._others = now
        before, self._theirs = self._theirs, {}
        for other in now:
            for held in other.held:
                for row, _ in self._ours.rows(other.engine, (Placement(held.node),)):
                    self._theirs.setdefault(row, []).append(held)
        return {row for row in before.keys() | self._theirs.keys() if before.get(row) != self._theirs.get(row)}

    def _put(self, changed: set[int]) -> None:
        """Let the field have in these rows what ours and others leave."""
        rows = sorted(changed)
        self.field.adopt(self._ours, np.array(rows, dtype=np.int64))
        for row in rows:
            for held in self._theirs.get(row, ()):
                self.field.room.take_held(row, held)


def _outlook(policy: Policy | None) -> Outlook:
    return Outlook(policy.stream, policy.scatter, policy.cpus_wanted) if policy else USUAL


def _alike(one: Job, other: Job) -> bool:
    """Whether both hold the same."""
    return (
        one.engine == other.engine
        and one.placements == other.placements
        and one.spec.resources == other.spec.resources
        and one.spec.exclusive == other.spec.exclusive
    )


def field_of(
    nodes: Iterable[Node], active: Iterable[Job], others: Iterable[ForeignJob] = (), mix: Mix | None = None
) -> Field:
    """What a fresh pool says."""
    return Pool().at(nodes, active, others, mix)
