"""Jobs in squeue's columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from stoker.foreign import ForeignJob
from stoker.job import Job, JobState
from stoker.spelling import format_array
from stoker.units import format_clock

HEADER = ("JOBID", "NAME", "USER", "ST", "TIME", "NODES", "NODELIST(REASON)", "QUEUE")
RIGHT = ("TIME", "NODES", "DEVICES")
FOREIGN_HEADER = ("ENGINE", "JOBID", "NAME", "USER", "ST", "TIME", "NODES", "DEVICES", "NODELIST(REASON)", "QUEUE")


def rows(jobs: Iterable[Job], now: float) -> Iterator[Sequence[str]]:
    """One row a job; neighbouring elements of an array that wait for the same thing share a row, as in squeue."""
    for key, group in groupby(jobs, key=_waits_alike):
        alike = list(group)
        if key is None or len(alike) == 1:
            yield from (_row(job, job.label, now) for job in alike)
        else:
            indices = sorted(job.array_index for job in alike if job.array_index is not None)
            yield _row(alike[0], f"{alike[0].array_id}_[{format_array(indices)}]", now)


def foreign_rows(jobs: Iterable[ForeignJob], now: float) -> Iterator[Sequence[str]]:
    """What others run, in the same columns; its number is that of its engine."""
    for job in jobs:
        held = ",".join(part.node for part in job.held)
        lasted = max(0.0, now - job.started_at) if job.started_at else 0.0
        yield (
            job.engine, job.id, job.name or "-", job.owner or "-", job.state.code, format_clock(lasted),
            str(job.nodes), str(job.devices), held or f"({job.reason or 'None'})", job.queue or "-",
        )  # fmt: skip


def _waits_alike(job: Job) -> tuple[int, str] | None:
    if job.state is not JobState.PENDING or job.array_id is None:
        return None
    return job.array_id, job.reason


def _row(job: Job, label: str, now: float) -> Sequence[str]:
    return (
        label,
        job.spec.name,
        job.owner,
        job.state.code,
        format_clock(elapsed(job, now)),
        str(job.spec.nodes),
        where(job),
        job.spec.queue or "-",
    )


def elapsed(job: Job, now: float) -> float:
    """Seconds it has run, or ran."""
    if job.started_at is None:
        return 0.0
    return max(0.0, (now if job.ended_at is None else job.ended_at) - job.started_at)


def where(job: Job) -> str:
    """Nodes it holds or held, else the reason it has none, in brackets."""
    nodes = ",".join(dict.fromkeys(placement.node for placement in job.placements))
    if job.reason == "EngineAway":
        return "(EngineAway)"  # where it is was true when its engine last answered
    bad = job.state.final and job.state is not JobState.SUCCEEDED
    if nodes and not (bad and job.reason):
        return nodes
    return f"({job.reason or 'None'})"
