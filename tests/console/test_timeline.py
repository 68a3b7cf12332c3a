from __future__ import annotations

import dataclasses

import pytest

from stoker.console.timeline import timeline
from stoker.job import Job, JobEvent, JobSpec, JobState

JOB = Job(1, JobSpec("j", ("true",)), "t", "o", JobState.RUNNING, submitted_at=100.0, started_at=130.0)


def events(*moves: tuple[float, JobState]) -> list[JobEvent]:
    return [JobEvent(1, at, state) for at, state in moves]


def test_spans_follow_each_other_to_now() -> None:
    moves = events((110.0, JobState.STARTING), (130.0, JobState.RUNNING))
    spans = timeline(JOB, moves, now=200.0)
    assert [(span.state, span.seconds, span.left, span.width) for span in spans] == [
        (JobState.PENDING, 10.0, 0.0, 10.0),
        (JobState.STARTING, 20.0, 10.0, 20.0),
        (JobState.RUNNING, 70.0, 30.0, 70.0),
    ]


def test_an_ended_job_ends_its_bar() -> None:
    ended = dataclasses.replace(JOB, state=JobState.FAILED, ended_at=150.0)
    spans = timeline(ended, events((110.0, JobState.RUNNING), (150.0, JobState.FAILED)), now=9999.0)
    assert sum(span.width for span in spans) == pytest.approx(100)
    assert [span.state for span in spans] == [JobState.PENDING, JobState.RUNNING]


def test_a_job_that_was_just_submitted_has_a_bar_too() -> None:
    assert timeline(JOB, events((100.0, JobState.PENDING)), now=100.0) == ()
    assert len(timeline(JOB, [], now=101.0)) == 1
