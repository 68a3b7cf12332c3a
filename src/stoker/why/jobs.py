"""How a job runs and how it ended, and why its engine keeps it. Why one waits in line says `schedule.explain`."""

from __future__ import annotations

from dataclasses import replace

from stoker.finding import Finding, Verdict
from stoker.job import Job, JobState
from stoker.telemetry import Telemetry
from stoker.why.speed import running
from stoker.why.words import SENTENCES, Words

_LINES = 8  # of the log's end, shown as evidence


def explain(
    job: Job,
    *,
    tail: bytes,
    telemetry: Telemetry,
    now: float,
    loses: tuple[str, float] | None = None,
    language: str = "en",
) -> Finding:
    """`tail`: the end of the log; `telemetry`: what the job itself reported; `loses`: of one that may be ended for
    others, what the loss rests on (a `schedule.victims.Loss`) and its seconds."""
    say, subject = Words(language), f"job/{job.label}"
    if job.state is JobState.PENDING:
        return Finding(subject, Verdict.UNKNOWN, say("waits", span=say.span(now - job.submitted_at)))
    if not job.state.final and job.reason and job.state is not JobState.STOPPING:
        return _at_its_engine(say, subject, job, now)
    if not job.state.final:
        found = running(say, subject, job.state, telemetry, started_at=job.started_at, now=now)
        cost = say(f"loses.{loses[0]}", span=say.span(loses[1])) if loses else ""
        return replace(found, evidence=(*found.evidence, *filter(None, (job.message, cost))))
    if job.state is JobState.SUCCEEDED:
        return Finding(subject, Verdict.OK, say("succeeded", span=_lasted(say, job)))
    if job.state is JobState.CANCELLED:
        message = job.message or say("cancelled.plain")
        return Finding(subject, Verdict.OK, say("cancelled", message=message, span=_lasted(say, job)))
    return _failed(say, subject, job, tail, telemetry.error)


def _at_its_engine(say: Words, subject: str, job: Job, now: float) -> Finding:
    """It was handed over, and its engine says something about it, or nothing any more."""
    nodes = ", ".join(placement.node for placement in job.placements)
    evidence = (say("engine.handed", engine=job.engine, nodes=nodes, attempt=job.attempt),)
    if job.reason == "EngineAway":
        return Finding(subject, Verdict.UNKNOWN, job.message, evidence, say("engine.away"))
    span = say.span(now - job.submitted_at)
    claim = say("engine.keeps", engine=job.engine, span=span, reason=job.reason)
    if job.message:
        claim += f" ({job.message})"
    return Finding(subject, Verdict.UNKNOWN, claim, evidence, _of_engine(say, job.reason))


def _of_engine(say: Words, reason: str) -> str:
    """What helps against a reason in an engine's own words."""
    return next((say(f"engine.{sign}") for sign in _SIGNS if sign in reason), "")


# Parts of the reasons of Slurm (squeue's manual page, JOB REASON CODES) and Kubernetes; the first that fits counts.
_SIGNS = tuple(
    sign for group, _, sign in (key.partition(".") for key in SENTENCES) if group == "engine" and sign[:1].isupper()
)


def _failed(say: Words, subject: str, job: Job, tail: bytes, error: str) -> Finding:
    state = say(f"state.{job.state}")
    claim = say("ended", state=state, span=_lasted(say, job), cause=error or job.message or job.reason)
    evidence = [f"{job.reason}: {job.message}" if job.message else job.reason or state]
    evidence += tail.decode(errors="replace").splitlines()[-_LINES:]
    if job.failures > 1:
        evidence.append(say("attempts", count=job.failures))
    again = say("again.ship", ship=job.ship) if job.ship else say("again")
    remedy = say(f"{job.state}.remedy", again=again)
    if job.reason == "DependencyNeverSatisfied":
        remedy = say("dependency.remedy")
    return Finding(subject, Verdict.FAILED, claim, tuple(filter(None, evidence)), remedy)


def _lasted(say: Words, job: Job) -> str:
    if job.started_at is None or job.ended_at is None:
        return say("never_ran")
    return say.span(job.ended_at - job.started_at)
