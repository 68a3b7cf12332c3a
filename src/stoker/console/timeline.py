"""A job's history as a bar: which state it was in, from when to when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stoker.job import Job, JobEvent, JobState


@dataclass(frozen=True)
class Span:
    state: JobState
    since: float
    seconds: float
    left: float  # percent of the bar
    width: float  # percent of the bar
    attempt: int


def timeline(job: Job, events: Sequence[JobEvent], now: float) -> tuple[Span, ...]:
    """Spans from submission to the end, or to `now`; a final state has no length and is not among them."""
    moves = [JobEvent(job.id, job.submitted_at, JobState.PENDING), *sorted(events, key=lambda event: event.at)]
    end = job.ended_at if job.ended_at is not None else now
    length = max(end - job.submitted_at, 1e-9)
    spans: list[Span] = []
    for move, following in zip(moves, [*moves[1:], None], strict=True):
        until = min(end, following.at if following else end)
        if move.state.final or until <= move.at:
            continue
        left = 100 * (move.at - job.submitted_at) / length
        width = 100 * (until - move.at) / length
        spans.append(Span(move.state, move.at, until - move.at, round(left, 3), round(width, 3), move.attempt))
    return tuple(spans)
