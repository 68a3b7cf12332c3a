"""The job pages: the queue, and one job with its history, curves, log and the reason why it waits or failed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from stoker.console import chart, stages
from stoker.console.reasons import in_language
from stoker.console.session import PageRoute, View, Viewer
from stoker.console.speed import delivered
from stoker.console.timeline import timeline
from stoker.errors import NotFound
from stoker.finding import Finding
from stoker.job import FINAL, Job, JobState
from stoker.telemetry import Telemetry

PAGE = 100  # jobs a page
LOG_CHUNK = 256 << 10  # bytes a log request answers with, at most
MOST_CHARTS = 8
# The chips above the queue, and the states each shows.
GROUPS: Mapping[str, tuple[JobState, ...]] = {
    "active": (JobState.PENDING, JobState.STARTING, JobState.RUNNING, JobState.STOPPING),
    "running": (JobState.STARTING, JobState.RUNNING, JobState.STOPPING),
    "waiting": (JobState.PENDING,),
    "ended": tuple(FINAL),
    "failed": (JobState.FAILED, JobState.TIMEOUT, JobState.OUT_OF_MEMORY, JobState.NODE_FAIL),
}
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
    running = [job for job in found if job.state is JobState.RUNNING]
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
        shares=view.console.speeds.of(running, lambda job: view.app.jobs.telemetry(job, view.who)),
    )


@router.get("/jobs/{label}")
def job_page(view: Viewer, label: str) -> Response:
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
        finding=_finding(view, job),
        batch=stages.first_batch(telemetry.notes.get("first_batch")),
        envs={name: "•••" if _SECRET.search(name) else value for name, value in job.spec.envs.items()},
    )


@router.get("/jobs/{label}/log")
def log(view: Viewer, label: str, stream: str = "stdout", offset: Annotated[int, Query(ge=0)] = 0) -> Response:
    """A chunk of the log from byte `offset`, as text; ``x-next-offset`` says where to go on."""
    job = _one(view, label)
    chunk = view.app.jobs.logs(job.id, view.who, stream=stream, offset=offset, limit=LOG_CHUNK)
    headers = {"x-next-offset": str(offset + len(chunk)), "x-final": "1" if job.state.final else "0"}
    return Response(chunk, media_type="text/plain; charset=utf-8", headers=headers)


@router.post("/jobs/{label}/cancel")
def cancel(view: Viewer, label: str) -> Response:
    job = _one(view, label)
    view.app.jobs.cancel([job.id], view.who)
    return RedirectResponse(f"/jobs/{job.label}", status_code=303)


def charts(telemetry: Telemetry) -> list[chart.Chart]:
    """The curves of a job beside what they should be, in the order people look."""
    signals = telemetry.signals
    drawn = (
        chart.chart(signals[name], telemetry.expectations.get(name), until=telemetry.total)
        for name in chart.ordered(list(signals))
    )
    return [found for found in drawn if found][:MOST_CHARTS]


def _one(view: View, label: str) -> Job:
    found = view.app.jobs.resolve(label, view.who)
    if not found:
        raise NotFound.named("job", label)
    return found[0]


def _finding(view: View, job: Job) -> Finding | None:
    """Why a job waits or did not succeed; a job that runs or went well needs no reason."""
    if job.state in (JobState.RUNNING, JobState.STARTING, JobState.SUCCEEDED):
        return None
    return in_language(view.app.jobs.why(job.id, view.who), job, view.say, view.now)
