"""What becomes of a job when its attempt has ended: over, or once more."""

from __future__ import annotations

from typing import Any

from stoker.control.patience import CALLED_BACK
from stoker.control.preemption import as_preempted
from stoker.engine import Observation
from stoker.job import Job, JobState
from stoker.store.jobs import Move

_FIRST_BACKOFF_SECONDS = 1.0
_LONGEST_BACKOFF_SECONDS = 300.0
_SHORT_LIFE_SECONDS = 60.0
_RETRIED = (JobState.FAILED, JobState.OUT_OF_MEMORY, JobState.NODE_FAIL)
_TAKEN_AWAY = (
    JobState.NODE_FAIL,
    JobState.PREEMPTED,
    JobState.CANCELLED,
)  # cancelled by its engine: nobody here asked


def after_end(job: Job, seen: Observation, now: float) -> Move:
    """The move for `job` when its engine says `seen` (final). A cancelled job stays so, however it ended."""
    seen = as_preempted(job, seen)
    ended = {
        "started_at": seen.started_at or job.started_at,
        "ended_at": seen.ended_at or now,
        "exit_code": seen.exit_code,
    }
    if job.state is JobState.STOPPING and job.reason == CALLED_BACK and not job.cancel_requested:
        return _called_back(job, seen, now)
    if job.cancel_requested:
        return Move(job, JobState.CANCELLED, job.reason, job.message or "cancelled", ended)
    taken_away = seen.state in _TAKEN_AWAY
    if job.spec.returns and taken_away:
        return _again(job, seen, now, failures=job.failures)
    if seen.state in _RETRIED and job.failures < job.spec.retries:
        return _again(job, seen, now, failures=job.failures + 1)
    failures = job.failures + (seen.state is not JobState.SUCCEEDED)
    return Move(job, seen.state, seen.reason, seen.message, {**ended, "failures": failures})


def _called_back(job: Job, seen: Observation, now: float) -> Move:
    """It goes back to the queue, unless it began in the very moment in which it was called."""
    if seen.started_at is None or job.spec.returns:
        return _again(job, seen, now, failures=job.failures)
    if seen.state is not JobState.CANCELLED:
        return Move(job, seen.state, seen.reason, seen.message, {"started_at": seen.started_at, "ended_at": now})
    told = f"began on {job.engine} just when it was called back to be placed anew"
    return Move(job, JobState.PREEMPTED, "Preempted", told, {"started_at": seen.started_at, "ended_at": now})


def _again(job: Job, seen: Observation, now: float, *, failures: int) -> Move:
    """Back to the queue. One that fails waits longer each time, and so does one that is taken away again and again
    just after it began: what ends its own supervisor would otherwise go round without a pause."""
    lived = (seen.ended_at or now) - (seen.started_at or now)
    pauses = max(failures, job.attempt - 1 if lived < _SHORT_LIFE_SECONDS else 0)
    if job.moves:  # its room is kept
        pauses = 0
    wait = min(_FIRST_BACKOFF_SECONDS * 2.0 ** min(pauses - 1, 30), _LONGEST_BACKOFF_SECONDS) if pauses else 0.0
    fields: dict[str, Any] = {
        "failures": failures,
        "not_before": now + wait if wait else None,
        "placements": (),
        "started_at": None,
        "exit_code": seen.exit_code,
    }
    told = f"attempt {job.attempt} ended: {seen.message or seen.state}"
    return Move(job, JobState.PENDING, "Requeued", told, fields)
