"""Decide what a shipment does next. Snapshot in, actions out.

`decide` may be asked at any moment, as often as one likes, by a process that has just been restarted: what it
returns depends on the snapshot alone, and doing its actions twice does them once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from stoker.job import Job, JobState
from stoker.ship.chain import Step, config_of, key_of, ready, steps_of
from stoker.shipment import Shipment, Stage, StageRun, StageState


@dataclass(frozen=True)
class Snapshot:
    """All a decision may look at."""

    shipment: Shipment
    finished: Mapping[str, Mapping[str, Any]]  # content address -> result.json, of the keys that matter here
    jobs: Mapping[int, Job] = field(default_factory=dict)
    errors: Mapping[int, str] = field(default_factory=dict)  # job -> what it said went wrong
    candidate_ready: bool = False  # a replica of the registered version answers
    candidate_failed: str = ""


@dataclass(frozen=True)
class RunJob:
    """Submit the stage's recipe as a job; its output will lie at `key`."""

    stage: Stage
    key: str
    recipe: str
    config: Mapping[str, Any]
    sources: tuple[str, ...]
    inputs: Mapping[str, str]  # name -> content address


@dataclass(frozen=True)
class Reuse:
    stage: Stage
    key: str
    result: Mapping[str, Any]


@dataclass(frozen=True)
class Done:
    stage: Stage
    result: Mapping[str, Any]


@dataclass(frozen=True)
class Fail:
    stage: Stage
    message: str
    exit_code: int | None = None


@dataclass(frozen=True)
class Again:
    """Begin the stage anew: its job was lost with its machine, and what it asked is now somewhere else."""

    stage: Stage


@dataclass(frozen=True)
class Act:
    """The platform does this stage itself: register, deploy or promote."""

    stage: Stage


@dataclass(frozen=True)
class Succeed:
    pass


Action = RunJob | Reuse | Done | Fail | Again | Act | Succeed


def decide(snapshot: Snapshot) -> tuple[Action, ...]:
    """What to do now; nothing when everything that can go on is under way."""
    shipment = snapshot.shipment
    runs = {run.stage: run for run in shipment.stages}
    steps = steps_of(shipment.request)
    if all(runs[step.stage].state.ended_well for step in steps):
        return (Succeed(),)
    return tuple(
        action
        for step in steps
        if not runs[step.stage].state.ended_well
        for action in _next(step, runs[step.stage], snapshot)
    )


def _next(step: Step, run: StageRun, snapshot: Snapshot) -> Iterator[Action]:
    if run.state is StageState.RUNNING:
        yield from _follow(step, run, snapshot)
    elif run.state is StageState.WAITING and ready(step, snapshot.shipment):
        yield from _begin(step, snapshot)


def _begin(step: Step, snapshot: Snapshot) -> Iterator[Action]:
    if not step.recipe:
        yield Act(step.stage)
        return
    key = key_of(step, snapshot.shipment)
    if key is None:
        return
    if key in snapshot.finished:
        yield Reuse(step.stage, key, snapshot.finished[key])
        return
    inputs = {name: snapshot.shipment.stage(stage).key for name, stage in step.inputs}
    config = config_of(step, snapshot.shipment.request)
    yield RunJob(step.stage, key, step.recipe, config, step.sources, inputs)


def _follow(step: Step, run: StageRun, snapshot: Snapshot) -> Iterator[Action]:
    if step.stage is Stage.DEPLOY:
        yield from _follow_deployment(snapshot)
        return
    if not step.recipe:
        yield Act(step.stage)  # was interrupted while the platform did it; doing it again is safe
        return
    if run.key in snapshot.finished:
        yield Done(step.stage, snapshot.finished[run.key])
        return
    job = snapshot.jobs.get(run.job) if run.job is not None else None
    if job is None or not job.state.final:
        return
    if step.stage is Stage.VERIFY and job.state is JobState.NODE_FAIL:
        yield Again(step.stage)
    else:
        yield _failure(step.stage, job, snapshot.errors.get(job.id, ""))


def _follow_deployment(snapshot: Snapshot) -> Iterator[Action]:
    if snapshot.candidate_failed:
        yield Fail(Stage.DEPLOY, snapshot.candidate_failed)
    elif snapshot.candidate_ready:
        yield Done(Stage.DEPLOY, {"version": snapshot.shipment.version})


def _failure(stage: Stage, job: Job, error: str) -> Fail:
    if job.state is JobState.SUCCEEDED:
        return Fail(stage, f"job {job.id} ended well but its output is gone; run again", 1)
    told = error or job.message or f"job {job.id} ended as {job.state}: stoker logs {job.id}"
    return Fail(stage, told, job.exit_code)
