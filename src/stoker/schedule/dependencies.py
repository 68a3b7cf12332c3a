"""What a job's dependencies say: go, not yet, or never."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from stoker.job import Condition, Dependency, Job, JobState
from stoker.schedule.snapshot import Wait

_NOT_BEGUN = (JobState.PENDING, JobState.STARTING)


class Answer(StrEnum):
    GO = "go"
    WAIT = "wait"
    NEVER = "never"


def held(job: Job, depended: Mapping[int, tuple[JobState, ...]]) -> tuple[Answer, Wait | None]:
    """The answer of all of `job`'s dependencies together, and why it is not GO."""
    waiting: list[int] = []
    for dependency in job.spec.depends:
        states = depended.get(dependency.job, ())
        answer = _ask(dependency, states)
        if answer is Answer.NEVER:
            return answer, Wait("DependencyNeverSatisfied", _never(dependency, states))
        if answer is Answer.WAIT:
            waiting.append(dependency.job)
    if waiting:
        named = ", ".join(map(str, waiting))
        return Answer.WAIT, Wait("Dependency", f"waits for job{'s' if len(waiting) > 1 else ''} {named}")
    return Answer.GO, None


def _ask(dependency: Dependency, states: tuple[JobState, ...]) -> Answer:
    if not states:
        return Answer.NEVER
    ended = all(state.final for state in states)
    match dependency.condition:
        case Condition.AFTER:
            return Answer.GO if all(state not in _NOT_BEGUN for state in states) else Answer.WAIT
        case Condition.AFTER_ANY:
            return Answer.GO if ended else Answer.WAIT
        case Condition.AFTER_OK:
            if any(state.final and state is not JobState.SUCCEEDED for state in states):
                return Answer.NEVER
            return Answer.GO if ended else Answer.WAIT
        case Condition.AFTER_NOT_OK:
            if any(state is JobState.SUCCEEDED for state in states):
                return Answer.NEVER
            return Answer.GO if ended else Answer.WAIT


def _never(dependency: Dependency, states: tuple[JobState, ...]) -> str:
    if not states:
        return f"depends on job {dependency.job}, which does not exist"
    ended = ", ".join(sorted({state.value for state in states if state.final}))
    return f"{dependency.condition}:{dependency.job} can no longer come true: that job ended as {ended}"
