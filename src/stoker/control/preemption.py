"""Preemption: a job that may be requeued gives its devices back, and runs again elsewhere or later."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from stoker.engine import Observation
from stoker.job import Job, JobState
from stoker.store.jobs import JobStore, Move

REASON = "Preempted"
_MAY_GO = (JobState.STARTING, JobState.RUNNING)
_BY_OUR_WISH = (JobState.CANCELLED, JobState.NODE_FAIL)  # how an engine calls the end that we asked for


def preempt(store: JobStore, job_ids: Iterable[int], why: str, now: float) -> list[Job]:
    """Ask that these jobs end: SIGTERM, their grace to write a checkpoint, SIGKILL. The dispatcher requeues them.

    Those that may not be requeued, or do not run, are left alone.
    """
    jobs = [job for job in store.by_ids(list(job_ids)) if job.spec.requeue and job.state in _MAY_GO]
    moves = [Move(job, JobState.STOPPING, REASON, why) for job in jobs if not job.cancel_requested]
    return store.move(moves, at=now, durable=True)


def as_preempted(job: Job, seen: Observation) -> Observation:
    """What the end of `job` is to us: one that we preempted was not cancelled, whatever its engine calls it."""
    if job.state is JobState.STOPPING and job.reason == REASON and seen.state in _BY_OUR_WISH:
        return replace(seen, state=JobState.PREEMPTED, reason=REASON, message=job.message)
    return seen
