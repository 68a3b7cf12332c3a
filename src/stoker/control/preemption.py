"""Preemption: a job that may be requeued gives its devices back, and runs again elsewhere or later.

The scheduler decides who goes for whom; here it is written down, in one transaction and before anybody is told.
Whoever is to go says from then on for whom, until it starts again: that is all a restarted platform needs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from stoker.engine import Observation
from stoker.job import Job, JobState
from stoker.queue import DEFAULT
from stoker.schedule import Plan, Preempt, Relocate, Snapshot
from stoker.schedule.victims import loses
from stoker.store.jobs import JobStore, Move

REASON = "Preempted"
_MAY_GO = (JobState.STARTING, JobState.RUNNING)
_BY_OUR_WISH = (JobState.CANCELLED, JobState.NODE_FAIL)  # how an engine calls the end that we asked for


def preempt(store: JobStore, job_ids: Iterable[int], why: str, now: float) -> list[Job]:
    """Ask that these jobs end: SIGTERM, their grace to write a checkpoint, SIGKILL. The dispatcher requeues them.

    Those that may not be requeued, or do not run, are left alone.
    """
    jobs = [job for job in store.by_ids(list(job_ids)) if job.spec.returns and job.state in _MAY_GO]
    moves = [Move(job, JobState.STOPPING, REASON, why) for job in jobs if not job.cancel_requested]
    return store.move(moves, at=now, durable=True)


def preemptions(plan: Plan, seen: Snapshot) -> list[Move]:
    """What is written down of those that give way to others, as decided on what was `seen`."""
    ended = [_giving_way(one, victim, seen) for one in plan.preempts for victim in one.victims]
    return [*ended, *(_moving(move, seen) for move in plan.moves)]


def _giving_way(one: Preempt, victim: Job, seen: Snapshot) -> Move:
    why = f"preempted for job {one.job.label}, {_right(one.job, victim)}; {loses(victim, seen.now, seen.policy)}"
    return Move(victim, JobState.STOPPING, REASON, why, {"gives_way_to": one.job.id})


def _right(job: Job, victim: Job) -> str:
    """By what right `job` goes before `victim`; they are those of `schedule.line.Line.may_take`."""
    queue = job.spec.queue or DEFAULT
    if queue != (victim.spec.queue or DEFAULT):
        return f'as queue "{queue}" takes back what it deserves'
    if job.spec.priority > victim.spec.priority:
        return f"of priority {job.spec.priority}"
    return "an equal whose turn it is"


def _moving(move: Relocate, seen: Snapshot) -> Move:
    why = f"starts again elsewhere: {move.buys}; {loses(move.job, seen.now, seen.policy)}"
    return Move(move.job, JobState.STOPPING, REASON, why, {"gives_way_to": move.room_for.id, "moves": True})


def as_preempted(job: Job, seen: Observation) -> Observation:
    """What the end of `job` is to us: one that we preempted was not cancelled, whatever its engine calls it."""
    if job.state is JobState.STOPPING and job.reason == REASON and seen.state in _BY_OUR_WISH:
        return replace(seen, state=JobState.PREEMPTED, reason=REASON, message=job.message)
    return seen
