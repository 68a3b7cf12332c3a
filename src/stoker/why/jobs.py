"""Why a job waits, and how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from stoker.finding import Finding, Verdict
from stoker.job import Job, JobState
from stoker.telemetry import Telemetry
from stoker.units import format_duration
from stoker.why.speed import running

_LINES = 8  # of the log's end, shown as evidence
_NAMED = 3  # jobs named in a sentence before "and n more"


@dataclass(frozen=True)
class InTheWay:
    """Jobs that keep another one waiting, as far as the asker may know of them."""

    seen: Sequence[Job] = ()  # those that may be named
    hidden: int = 0  # how many belong to other tenants
    more: bool = False  # there are further ones, nobody counted how many


def explain(
    job: Job,
    *,
    ahead: InTheWay,
    holders: InTheWay,
    tail: bytes,
    telemetry: Telemetry,
    now: float,
    loses: str = "",
) -> Finding:
    """`ahead`: pending jobs that go first; `holders`: jobs that hold something now; `tail`: the end of the log;
    `telemetry`: what the job itself reported; `loses`: of one that may be ended for others, what that costs."""
    subject = f"job/{job.label}"
    if job.state is JobState.PENDING:
        return _waiting(subject, job, ahead, holders, now)
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


def _waiting(subject: str, job: Job, ahead: InTheWay, holders: InTheWay, now: float) -> Finding:
    claim = f"waits since {format_duration(max(0.0, now - job.submitted_at))}: {job.reason or 'not looked at yet'}"
    if job.message:
        claim += f" ({job.message})"
    told = {"running now": holders, "ahead of it": ahead}
    evidence = [f"{what}: {_named(jobs)}" for what, jobs in told.items() if jobs.seen or jobs.hidden]
    return Finding(subject, Verdict.UNKNOWN, claim, tuple(evidence), _REMEDIES.get(job.reason, ""))


def _at_its_engine(subject: str, job: Job, now: float) -> Finding:
    """It was handed over, and its engine says something about it, or nothing any more."""
    nodes = ", ".join(placement.node for placement in job.placements)
    evidence = (f"handed over to {job.engine} for {nodes}, attempt {job.attempt}",)
    if job.reason == "EngineAway":
        return Finding(subject, Verdict.UNKNOWN, job.message, evidence, _REMEDIES[job.reason])
    claim = f"{job.engine} keeps it waiting since {format_duration(max(0.0, now - job.submitted_at))}: {job.reason}"
    if job.message:
        claim += f" ({job.message})"
    return Finding(subject, Verdict.UNKNOWN, claim, evidence, _of_engine(job.reason))


def _of_engine(reason: str) -> str:
    """What helps against a reason in an engine's own words."""
    return next((remedy for sign, remedy in _ENGINE_REMEDIES.items() if sign in reason), "")


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

_REMEDIES = {
    "Priority": "it starts when those ahead have started; a higher priority moves it forward",
    "Resources": "it starts when enough of what runs has ended; asking for less may start it at once",
    "Dependency": "it starts when the jobs it depends on have ended as it asks",
    "ArrayTaskLimit": "it starts when another element of its array has ended; raise the limit of the array (%)",
    "EngineAway": "bring the engine back; nothing is lost meanwhile",
    "ReqNodeNotAvail": "bring back the node or device it asks for, or cancel it and ask for another",
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


def _named(jobs: InTheWay) -> str:
    names = [f'{job.label} "{job.spec.name}"' for job in jobs.seen[:_NAMED]]
    unnamed = len(jobs.seen) - len(names)
    least = "at least " if jobs.more else ""
    if jobs.hidden:
        of_others = f"{jobs.hidden} of other tenants"
        names += [f"{unnamed} more", of_others] if unnamed else [of_others]
        return least + ", ".join(names)
    return ", ".join(names) + (f" and {least}{unnamed} more" if unnamed else "")
