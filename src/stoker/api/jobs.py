"""Jobs over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from anyio.to_thread import run_sync
from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import PlainTextResponse, Response, StreamingResponse
from pydantic import Discriminator, Tag

from stoker.account import Account
from stoker.api.auth import Caller, Platform
from stoker.api.changes import Pulse, pulse_of
from stoker.api.fields import Before, JobId, Limit, Text
from stoker.api.wire import Json
from stoker.app import App
from stoker.errors import Conflict
from stoker.explanation_words import finding_in
from stoker.finding import Finding
from stoker.job import Job, JobEvent, JobKind, JobSpec, JobState
from stoker.page import Page
from stoker.telemetry import Telemetry
from stoker.typed import strict

NEXT_OFFSET = "Stoker-Next-Offset"
_FOLLOW_S = 0.5  # output appears between two moves of the job's state, so it is looked for this often

router = APIRouter(prefix="/jobs", tags=["jobs"])

Stream = Literal["stdout", "stderr"]


@strict
@dataclass(frozen=True)
class Batch:
    """Many jobs in one request: all are accepted, or none."""

    jobs: tuple[JobSpec, ...]


@strict
@dataclass(frozen=True)
class JobIds:
    jobs: tuple[int, ...]


def _form(body: Any) -> str:
    many = isinstance(body, Batch) or (isinstance(body, dict) and "jobs" in body)
    return "<jobs>" if many else "<job>"


Submission = Annotated[
    Annotated[JobSpec, Tag("<job>")] | Annotated[Batch, Tag("<jobs>")],
    Discriminator(_form),
]


@router.post("", response_model=Page[Job], status_code=201)
def submit(
    body: Submission,
    app: Platform,
    who: Caller,
    idempotency_key: Annotated[
        str, Header(max_length=200, description="sent again with the same key, nothing is submitted twice")
    ] = "",
) -> Response:
    """Submit one job, or `{"jobs": [...]}`. An array becomes one job per index."""
    specs = body.jobs if isinstance(body, Batch) else (body,)
    jobs = app.jobs.submit(specs, who, idempotency=idempotency_key)
    return Json(Page(tuple(jobs)), 201)


@router.get("", response_model=Page[Job])
def find(
    app: Platform,
    who: Caller,
    label: Text = "",
    state: Annotated[list[JobState] | None, Query()] = None,
    owner: Text = "",
    name: Text = "",
    ship: Text = "",
    kind: JobKind | None = None,
    limit: Limit = 100,
    before: Before = None,
) -> Response:
    """Jobs, the newest first. `label` is what people name a job by: an id, `17_3`, or a name."""
    if label:
        return Json(Page(tuple(app.jobs.resolve(label, who))))
    jobs = app.jobs.find(
        who, states=state or (), owner=owner, name=name, ship=ship, kind=kind, limit=limit, before=before
    )
    return Json(Page(tuple(jobs), jobs[-1].id if len(jobs) == limit else None))


@router.get("/counts", response_model=dict[JobState, int])
def counts(app: Platform, who: Caller) -> Response:
    """How many jobs are in each state."""
    return Json(dict(app.jobs.counts(who)))


@router.post("/cancel", response_model=Page[Job])
def cancel_many(body: JobIds, app: Platform, who: Caller) -> Response:
    """Cancel several jobs. One that has ended stays as it is."""
    return Json(Page(tuple(app.jobs.cancel(body.jobs, who))))


@router.get("/{job_id}", response_model=Job)
def get(job_id: JobId, app: Platform, who: Caller) -> Response:
    return Json(app.jobs.get(job_id, who))


@router.post("/{job_id}/cancel", response_model=Job)
def cancel(job_id: JobId, app: Platform, who: Caller) -> Response:
    """Cancel: SIGTERM, the job's grace, then SIGKILL. A job that has ended stays as it is."""
    app.jobs.cancel([job_id], who)
    return Json(app.jobs.get(job_id, who))


@router.get("/{job_id}/events", response_model=Page[JobEvent])
def events(job_id: JobId, app: Platform, who: Caller) -> Response:
    """The job's history, the oldest first."""
    return Json(Page(tuple(app.jobs.events(job_id, who))))


@router.get("/{job_id}/telemetry", response_model=Telemetry)
def telemetry(job_id: JobId, app: Platform, who: Caller) -> Response:
    """What the job told of itself through the probe."""
    return Json(app.jobs.telemetry(job_id, who))


@router.get("/{job_id}/why", response_model=Finding)
def why(
    job_id: JobId,
    app: Platform,
    who: Caller,
    *,
    nodes: Annotated[bool, Query(description="of a waiting job: also what each node lacks")] = False,
    lang: Annotated[Literal["en", "zh"], Query(description="of the sentences")] = "en",
) -> Response:
    """Why the job waits or failed, and what to do.

    Of a waiting job `waiting` holds codes and values: the one cause, changes that would start it, who holds what it
    waits for, its place in line, its predicted start.
    """
    with suppress(Conflict):  # it does not wait
        return Json(finding_in(lang, app.explanations.explain(job_id, who, nodes=nodes)))
    return Json(app.jobs.why(job_id, who, lang))


@router.get("/{job_id}/logs", response_class=PlainTextResponse)
def logs(
    request: Request,
    job_id: JobId,
    app: Platform,
    who: Caller,
    stream: Stream = "stdout",
    offset: Annotated[int, Query(ge=0, le=2**63 - 1, description="in bytes")] = 0,
    limit: Annotated[int, Query(ge=1, le=1 << 24, description="in bytes")] = 1 << 20,
    attempt: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
    *,
    follow: bool = False,
) -> Response:
    """The job's output from byte `offset`. With `follow` the answer goes on until the job has ended."""
    latest = app.jobs.get(job_id, who).attempt
    first = app.jobs.logs(job_id, who, stream=stream, offset=offset, limit=limit, attempt=attempt or latest)
    if follow:
        tail = _Tail(app, pulse_of(request), who, job_id, stream, offset, attempt or latest, last=attempt)
        return StreamingResponse(tail.pieces(first), media_type="text/plain; charset=utf-8")
    return Response(first, headers={NEXT_OFFSET: str(offset + len(first))}, media_type="text/plain; charset=utf-8")


@dataclass
class _Tail:
    """Output as it is written, until the job has ended and all of it was read; of a further attempt too."""

    app: App
    pulse: Pulse
    who: Account
    job_id: int
    stream: Stream
    offset: int
    attempt: int  # that is read now; 0 before the first
    last: int | None  # the only one that was asked for

    async def pieces(self, first: bytes) -> AsyncIterator[bytes]:
        piece = first
        while not self.pulse.closing:
            if piece:
                self.offset += len(piece)
                yield piece
            counter = self.pulse.counter
            job = await run_sync(self.app.jobs.get, self.job_id, self.who)
            piece = await run_sync(self._read)
            if piece:
                continue
            begun_again = job.attempt > self.attempt
            if begun_again and self.last is None:
                self._turn_to_next(job)
            elif begun_again or job.state.final:
                return
            else:
                await self.pulse.wait(counter, _FOLLOW_S)

    def _turn_to_next(self, job: Job) -> None:
        """Each attempt has a log of its own, unless the user named one file for all of them."""
        self.attempt += 1
        named = job.spec.stdout if self.stream == "stdout" else job.spec.stderr
        if not named:
            self.offset = 0

    def _read(self) -> bytes:
        return self.app.jobs.logs(
            self.job_id, self.who, stream=self.stream, offset=self.offset, attempt=self.attempt
        )
