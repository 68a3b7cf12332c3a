"""How a job runs and how it ended, and why its engine keeps it. Why one waits in line says `schedule.explain`."""

from __future__ import annotations

from dataclasses import replace

from stoker.finding import Finding, Verdict
from stoker.job import Job, JobState
from stoker.telemetry import Telemetry
from stoker.units import format_duration
from stoker.why.speed import running

_LINES = 8  # of the log's end, shown as evidence


def explain(job: Job, *, tail: bytes, telemetry: Telemetry, now: float, loses: str = "") -> Finding:
    """`tail`: the end of the log; `telemetry`: what the job itself reported; `loses`: of one that may be ended for
    others, what that costs."""
    subject = f"job/{job.label}"
    if job.state is JobState.PENDING:
        return Finding(subject, Verdict.UNKNOWN, f"waits since {format_duration(max(0.0, now - job.submitted_at))}")
    if not job.state.final and job.reason and job.state is not JobState.STOPPING:
        return _at_its_engine(subject, job, now)
    if not job.state.final:
        told = filter(None, (job.message, f"ended for others now, it {loses}" if loses else ""))
        found = running(subject, job.state, telemetry, started_at=job.started_at, now=now)
        return replace(found, evidence=(*found.evidence, *told))
    if job.state is JobState.SUCCEEDED:
        return Finding(subject, Verdict.OK, f"succeeded after {_lasted(job)}")
    if job.state is JobState.CANCELLED:
        return Finding(subject, Verdict.OK, f"{job.message or 'cancelled'} after {_lasted(job)}")
    return _failed(subject, job, tail, telemetry.error)


def _at_its_engine(subject: str, job: Job, now: float) -> Finding:
    """It was handed over, and its engine says something about it, or nothing any more."""
    nodes = ", ".join(placement.node for placement in job.placements)
    evidence = (f"handed over to {job.engine} for {nodes}, attempt {job.attempt}",)
    if job.reason == "EngineAway":
        remedy = "bring the engine back; nothing is lost meanwhile"
        return Finding(subject, Verdict.UNKNOWN, job.message, evidence, remedy)
    claim = f"{job.engine} keeps it waiting since {format_duration(max(0.0, now - job.submitted_at))}: {job.reason}"
    if job.message:
        claim += f" ({job.message})"
    return Finding(subject, Verdict.UNKNOWN, claim, evidence, _of_engine(job.reason))


def _of_engine(reason: str) -> str:
    """What helps against a reason in an engine's own words."""
    return next((remedy for sign, remedy in _ENGINE_REMEDIES.items() if sign in reason), "")


# Parts of the reasons of Slurm (squeue's manual page, JOB REASON CODES) and Kubernetes; the first that fits counts.
_ENGINE_NEXT = {
    JobState.TIMEOUT: "give it more time (--time), or let it write checkpoints and go on from them",
    JobState.OUT_OF_MEMORY: "ask for more memory (--mem), or make its batch smaller",
    JobState.NODE_FAIL: "submit it again; with --requeue that happens by itself",
    JobState.PREEMPTED: "submit it again; with --requeue that happens by itself",
    JobState.FAILED: "read its log, correct the cause and submit it again",
}


# Parts of the reasons of Slurm (squeue's manual page, JOB REASON CODES) and Kubernetes; the first that fits counts.
_ENGINE_REMEDIES = {
    "QOS": "a limit of its quality of service is reached: ask for less, use another QOS, or ask the Slurm admin",
    "Assoc": "a limit of its account is reached: ask for less, use another account, or ask the Slurm admin",
    "Reservation": "the reservation is not active or does not hold these nodes; see: scontrol show reservation",
    "PartitionTimeLimit": "ask for less time (--time), or for a partition that allows it",
    "PartitionNodeLimit": "ask for fewer nodes, or for a partition that allows as many",
    "PartitionDown": "the partition is down; ask the Slurm admin, or use another queue",
    "PartitionInactive": "the partition is inactive; ask the Slurm admin, or use another queue",
    "Licenses": "it waits for a licence; it starts when one is free",
    "ReqNodeNotAvail": "its node became unavailable after it was placed; in a while it is placed anew",
    "Resources": "somebody else took the place meanwhile; in a while it is placed anew",
    "Priority": "the engine lets others go first; it starts when they have started",
    "ImagePull": "the image cannot be pulled: check its name and the pull secret",
    "ErrImage": "the image cannot be pulled: check its name and the pull secret",
    "Unschedulable": "no node of the cluster takes it now; the message says which condition fails where",
}

_NEXT = {
    JobState.TIMEOUT: "give it more time (--time), or let it write checkpoints and go on from them",
    JobState.OUT_OF_MEMORY: "ask for more memory (--mem), or make its batch smaller",
    JobState.NODE_FAIL: "submit it again; with --requeue that happens by itself",
    JobState.PREEMPTED: "submit it again; with --requeue that happens by itself",
    JobState.FAILED: "read its log, correct the cause and submit it again",
}


def _failed(subject: str, job: Job, tail: bytes, error: str) -> Finding:
    claim = f"{job.state.replace('_', ' ')} after {_lasted(job)}: {error or job.message or job.reason}"
    evidence = [f"{job.reason}: {job.message}" if job.message else job.reason or str(job.state)]
    evidence += tail.decode(errors="replace").splitlines()[-_LINES:]
    if job.failures > 1:
        evidence.append(f"{job.failures} attempts failed")
    remedy = _NEXT[job.state]
    if job.reason == "DependencyNeverSatisfied":
        remedy = "correct the job it depends on, then submit both again"
    elif job.ship:
        remedy = remedy.replace("submit it again", f"go on where it stopped: stoker ship --resume {job.ship}")
    return Finding(subject, Verdict.FAILED, claim, tuple(filter(None, evidence)), remedy)


def _lasted(job: Job) -> str:
    if job.started_at is None or job.ended_at is None:
        return "no time at all (it never ran)"
    return format_duration(max(0.0, job.ended_at - job.started_at))
