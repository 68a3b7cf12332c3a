"""Why a job waits: the one cause, what would start it now, who holds what it waits for, its place, its start.

Pure: the snapshot that was decided on and the plan that came of it, an Explanation of plain values out.
"""

from __future__ import annotations

from stoker.explanation import Accuracy, Cause, ChangeKind, Explanation, Standing
from stoker.job import Job
from stoker.schedule.case import Case
from stoker.schedule.cause import because
from stoker.schedule.changes import by_waiting, changes
from stoker.schedule.decide import decide
from stoker.schedule.ending import ending
from stoker.schedule.forecast import HELD_UP, elsewhere, forecast
from stoker.schedule.holders import ahead, holders, holding
from stoker.schedule.lane import latest_begin
from stoker.schedule.lasting import Lasting
from stoker.schedule.refusals import by_node
from stoker.schedule.snapshot import Plan, Snapshot

_HOLDERS = 8  # named
_RIVALS = 5  # named


def explain(
    snapshot: Snapshot,
    job: Job,
    plan: Plan | None = None,
    *,
    lasting: Lasting | None = None,
    accuracy: Accuracy | None = None,
    nodes: bool = False,
    offer: bool = True,
) -> Explanation:
    """Why `job`, which is pending in `snapshot`, does not run. `plan` is what was decided on it; None: decide.

    `lasting` is how long jobs ran so far, `accuracy` how good earlier forecasts were. With `nodes` each is told;
    without `offer` no changes are looked for.
    """
    plan = decide(snapshot) if plan is None else plan
    case = Case.of(snapshot, job, plan)
    why, rivals, held_by = because(case), case.rivals, holding(case)
    offered = () if not offer else changes(snapshot, job, plan, why, case.field, case.found, case.pool)
    when = forecast(case, why.cause, held_by, lasting or Lasting(), accuracy or Accuracy())
    if offer and not rivals and why.cause in HELD_UP:
        offered += by_waiting(snapshot, job, plan, when.latest, case.pool)
    if offer and why.cause is Cause.QUOTA and not any(one.kind is ChangeKind.QUEUE for one in offered):
        offered += elsewhere(case, when.at, lasting or Lasting())
    named = holders(case, held_by)
    return Explanation(
        job=job.label,
        name=job.spec.name,
        at=snapshot.now,
        since=job.submitted_at,
        because=why,
        changes=offered,
        holders=tuple(named[:_HOLDERS]),
        more_holders=max(0, len(named) - _HOLDERS),
        ending=ending(case, why.cause, held_by) if offer else None,
        line=Standing(len(case.ahead), len(rivals), tuple(ahead(one) for one in rivals[:_RIVALS])),
        forecast=when,
        must_begin=None if job.spec.deadline is None else latest_begin(job),
        refusals=case.found.counts(),
        nodes=by_node(case.field, case.found, snapshot.away) if nodes else (),
    )
