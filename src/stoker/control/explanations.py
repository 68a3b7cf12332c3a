"""ExplanationDesk: why a job waits, as far as somebody may know it, and how good forecasts of its start are."""

from __future__ import annotations

from dataclasses import replace

from stoker.account import Account, Role
from stoker.clock import Clock
from stoker.control.forecasts import Forecasts
from stoker.control.loop import Dispatcher
from stoker.control.rights import require_sight, sees
from stoker.errors import Conflict
from stoker.explanation import Ahead, Because, Cause, Explanation, Holder, Victim
from stoker.job import Job, JobState
from stoker.schedule import Plan, Snapshot, explain
from stoker.store.jobs import JobStore


class ExplanationDesk:
    def __init__(self, jobs: JobStore, dispatcher: Dispatcher, forecasts: Forecasts, clock: Clock) -> None:
        self._jobs = jobs
        self._dispatcher = dispatcher
        self._forecasts = forecasts
        self._clock = clock

    def explain(self, job_id: int, who: Account, *, nodes: bool = False) -> Explanation:
        """Why the job waits. With `nodes` also what each node lacks.

        Raises NotFound, also for the jobs of others' tenants, and Conflict for a job that does not wait.
        """
        job = self._jobs.get(job_id)
        require_sight(who, job.tenant, "job", str(job_id))
        if job.state is not JobState.PENDING:
            raise Conflict(f"job {job.label} is {job.state}, it does not wait; see: stoker why {job.label}")
        decided = self._dispatcher.decided
        now = self._clock.now()
        if decided is None:
            return Explanation(job.label, job.spec.name, now, job.submitted_at, Because(Cause.UNDECIDED))
        snapshot, plan = as_of(job, *decided, now)
        found = explain(
            snapshot, job, plan,
            lasting=self._forecasts.lasting(), accuracy=self._forecasts.accuracy(), nodes=nodes,
        )  # fmt: skip
        self._forecasts.note(job, found)
        return _as_seen(found, who)


def as_of(job: Job, snapshot: Snapshot, plan: Plan, now: float) -> tuple[Snapshot, Plan | None]:
    """What the last pass left behind, now; with `job`, if no pass has seen it yet: then without a plan."""
    today = replace(snapshot, now=max(now, snapshot.now))
    if job.id in plan.waits and any(one.id == job.id for one in snapshot.pending):
        return today, plan
    others = [one for one in today.pending if one.id != job.id]
    return replace(today, pending=[*others, job], active=[one for one in today.active if one.id != job.id]), None


def _as_seen(found: Explanation, who: Account) -> Explanation:
    """Without what belongs to other tenants, and to those who use the engines without us."""
    holders = tuple(one if _may_know(one, who) else _nameless(one) for one in found.holders)
    first = tuple(one if sees(who, one.tenant) else _unnamed(one) for one in found.line.first)
    ending = found.ending
    if ending is not None:
        seen = tuple(one if sees(who, one.tenant) else _nobody(one) for one in ending.victims)
        ending = replace(ending, victims=seen)
    because, hidden = found.because, {one.job for one in found.line.first if not sees(who, one.tenant)}
    if because.cause is Cause.RESERVATION and who.role is not Role.ADMIN and _is_hidden(found, hidden):
        because = replace(because, values={**because.values, "job": ""})
    return replace(found, because=because, holders=holders, ending=ending, line=replace(found.line, first=first))


def _is_hidden(found: Explanation, hidden: set[str]) -> bool:
    """Whether the job that room is kept for may not be named; one that is not among the first is not either."""
    kept_for = found.because.values.get("job")
    return kept_for in hidden or kept_for not in {one.job for one in found.line.first}


def _may_know(holder: Holder, who: Account) -> bool:
    return who.role is Role.ADMIN if holder.engine else sees(who, holder.tenant)


def _nameless(holder: Holder) -> Holder:
    return replace(holder, job="", name="", owner="", tenant="", hidden=True)


def _nobody(victim: Victim) -> Victim:
    return replace(victim, job="", name="", owner="", tenant="", hidden=True)


def _unnamed(ahead: Ahead) -> Ahead:
    return replace(ahead, job="", name="", owner="", tenant="", hidden=True)
