"""The job pages: the queue, and one job with its history, curves, log and the reason why it waits or failed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import RedirectResponse
from starlette.responses import Response, StreamingResponse

from stoker.console import chart, stages
from stoker.console.session import PageRoute, View, Viewer
from stoker.console.speed import delivered
from stoker.console.tail import Read, start_of_tail
from stoker.console.timeline import timeline
from stoker.console.waiting import Waiting, waiting
from stoker.errors import Conflict, NotFound
from stoker.finding import Finding, Verdict
from stoker.job import FINAL, Job, JobState
from stoker.telemetry import Telemetry

PAGE = 100  # jobs a page
LOG_CHUNK = 256 << 10  # bytes a log request answers with, at most
OUTPUT_CHUNK = 1 << 20  # bytes read at a time when all of a log is asked for
MOST_CHARTS = 8
# The chips above the queue, and the states each shows.
GROUPS: Mapping[str, tuple[JobState, ...]] = {
    "active": (JobState.PENDING, JobState.STARTING, JobState.RUNNING, JobState.STOPPING),
    "running": (JobState.STARTING, JobState.RUNNING, JobState.STOPPING),
    "waiting": (JobState.PENDING,),
    "ended": tuple(FINAL),
    "failed": (JobState.FAILED, JobState.TIMEOUT, JobState.OUT_OF_MEMORY, JobState.NODE_FAIL, JobState.PREEMPTED),
}
_PLAIN = "text/plain; charset=utf-8"
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASS|CREDENTIAL", re.IGNORECASE)

router = APIRouter(route_class=PageRoute)


@router.get("/jobs")
def queue(
    view: Viewer, show: str = "", owner: str = "", name: str = "", before: Annotated[int | None, Query(ge=1)] = None
) -> Response:
    counts = view.app.jobs.counts(view.who)
    found = view.app.jobs.find(
        view.who, states=GROUPS.get(show, ()), owner=owner, name=name, limit=PAGE, before=before
    )
    return view.page(
        "jobs.html",
        jobs=found,
        show=show if show in GROUPS else "",
        groups={group: sum(counts.get(state, 0) for state in states) for group, states in GROUPS.items()},
        all=sum(counts.values()),
        owner=owner,
        name=name,
        owners=sorted({job.owner for job in found} | ({owner} if owner else set())),
        older=found[-1].id if len(found) == PAGE else None,
        before=before,
        shares=view.console.speeds.of(found, lambda job: view.app.jobs.telemetry(job, view.who)),
    )


@router.get("/jobs/{label}")
def job_page(view: Viewer, label: str) -> Response:
    found = view.app.jobs.resolve(label, view.who)
    if len(found) > 1:
        return _array_page(view, found)
    job = _one(view, label)
    telemetry = view.app.jobs.telemetry(job.id, view.who)
    return view.page(
        "job.html",
        job=job,
        spans=timeline(job, view.app.jobs.events(job.id, view.who), view.now),
        events=view.app.jobs.events(job.id, view.who),
        telemetry=telemetry,
        delivered=delivered(telemetry),
        charts=charts(telemetry),
        waiting=_waiting(view, job),
        finding=_finding(view, job),
        batch=stages.first_batch(telemetry.notes.get("first_batch")),
        envs={name: "•••" if _SECRET.search(name) else value for name, value in job.spec.envs.items()},
    )


@router.get("/jobs/{label}/log")
def log(view: Viewer, label: str, offset: Annotated[int | None, Query(ge=0, le=1 << 62)] = None) -> Response:
    """A chunk of the log from byte `offset`, without one of its tail, as text.

    ``x-offset`` and ``x-next-offset`` say where it begins and ends, ``x-final`` whether the job has ended.
    """
    job = _one(view, label)
    begin = start_of_tail(_reader(view, job, "stdout"), LOG_CHUNK) if offset is None else offset
    chunk = view.app.jobs.logs(job.id, view.who, offset=begin, limit=LOG_CHUNK)
    headers = {
        "x-offset": str(begin),
        "x-next-offset": str(begin + len(chunk)),
        "x-final": str(int(job.state.final)),
    }
    return Response(chunk, media_type=_PLAIN, headers=headers)


@router.get("/jobs/{label}/output")
def output(view: Viewer, label: str, stream: str = "stdout") -> Response:
    """All of a log, for saving and searching."""
    read = _reader(view, _one(view, label), stream)
    read(0, 0)  # a stream that does not exist is refused before the answer begins
    return StreamingResponse(_chunks(read), media_type=_PLAIN)


@router.post("/jobs/{label}/cancel")
def cancel(view: Viewer, label: str) -> Response:
    job = _one(view, label)
    view.app.jobs.cancel([job.id], view.who)
    return RedirectResponse(f"/jobs/{job.label}", status_code=303)


def _array_page(view: View, jobs: Sequence[Job]) -> Response:
    """The elements of an array, and how many stand where."""
    return view.page(
        "array.html",
        jobs=sorted(jobs, key=lambda job: job.array_index or 0),
        counts=Counter(job.state for job in jobs),
        shares=view.console.speeds.of(jobs, lambda job: view.app.jobs.telemetry(job, view.who)),
    )


def charts(telemetry: Telemetry) -> list[chart.Chart]:
    """The curves of a job beside what they should be, in the order people look."""
    signals = telemetry.signals
    drawn = (
        chart.chart(signals[name], telemetry.expectations.get(name), until=telemetry.total)
        for name in chart.ordered(list(signals))
    )
    return [found for found in drawn if found][:MOST_CHARTS]


def _reader(view: View, job: Job, stream: str) -> Read:
    return lambda offset, limit: view.app.jobs.logs(job.id, view.who, stream=stream, offset=offset, limit=limit)


def _chunks(read: Read) -> Iterator[bytes]:
    offset = 0
    while chunk := read(offset, OUTPUT_CHUNK):
        yield chunk
        offset += len(chunk)


def _one(view: View, label: str) -> Job:
    found = view.app.jobs.resolve(label, view.who)
    if not found:
        raise NotFound.named("job", label)
    return found[0]


def _finding(view: View, job: Job) -> Finding | None:
    """Why a job did not succeed or is slow; one that went well needs no reason, one that waits has a drawing."""
    if job.state in (JobState.PENDING, JobState.STARTING, JobState.SUCCEEDED):
        return None
    found = view.app.jobs.why(job.id, view.who, view.say.language)
    if job.state is JobState.RUNNING and found.verdict not in (Verdict.DEGRADED, Verdict.FAILED):
        return None
    return found


def _waiting(view: View, job: Job) -> Waiting | None:
    """The drawing of why a job waits."""
    if job.state is not JobState.PENDING:
        return None
    with suppress(Conflict):  # it has begun meanwhile
        return waiting(view.app.explanations.explain(job.id, view.who, nodes=True), view.say.language)
    return None
