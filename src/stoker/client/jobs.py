"""Jobs through the client."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any
from uuid import uuid4

from stoker.client.changes import looks
from stoker.client.connection import Connection
from stoker.errors import Away, BadInput
from stoker.finding import Finding
from stoker.job import Job, JobEvent, JobKind, JobSpec, JobState
from stoker.page import Page
from stoker.telemetry import Telemetry
from stoker.typed import dump

_PATH = "/api/v1/jobs"
_PIECE = 1 << 20  # bytes of a log in one answer
_PAGE = 1000
_BATCH = 1000  # jobs in one request
_ABSENCE_S = 120.0


class Jobs:
    """``client.jobs``"""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def submit(self, *specs: JobSpec, idempotency: str = "") -> list[Job]:
        """Submit; an array becomes one job per index. Repeated when no answer came, and still submitted once.

        In one submission a dependency on job -n means its n-th spec, counted from 1; it is accepted whole or not at
        all. More than 1,000 without such dependencies go in several requests, each accepted whole or not at all.
        Raises Unfit for what can never run there, BadInput naming the field.
        """
        if not specs:
            raise BadInput("nothing to submit; give at least one job")
        key = idempotency or uuid4().hex
        jobs: list[Job] = []
        linked = any(dependency.job < 0 for spec in specs for dependency in spec.depends)
        size = len(specs) if linked else _BATCH
        for start in range(0, len(specs), size):
            body = {"jobs": [dump(spec) for spec in specs[start : start + size]]}
            part = f"{key}-{start}" if start else key
            jobs += self._connection.post(Page[Job], _PATH, body, idempotency=part).items
        return jobs

    def get(self, job_id: int) -> Job:
        return self._connection.get(Job, f"{_PATH}/{job_id}")

    def resolve(self, label: str | int) -> list[Job]:
        """The jobs that `label` names: an id, an element of an array (``17_3``), or a name."""
        return list(self._connection.get(Page[Job], _PATH, label=str(label)).items)

    def list(
        self,
        *,
        states: Collection[JobState] = (),
        owner: str = "",
        name: str = "",
        ship: str = "",
        kind: JobKind | None = None,
        limit: int = 100,
        before: int | None = None,
    ) -> list[Job]:
        """The newest `limit` jobs that fit; with `before`, those submitted before the job of that id."""
        found: list[Job] = []
        wanted = {
            "state": [state.value for state in states],
            "owner": owner,
            "name": name,
            "ship": ship,
            "kind": kind,
        }
        while len(found) < limit:
            count = min(_PAGE, limit - len(found))
            page = self._connection.get(Page[Job], _PATH, limit=count, before=before, **wanted)
            found += page.items
            before = page.next
            if before is None:
                break
        return found

    def counts(self) -> Mapping[JobState, int]:
        """How many jobs are in each state."""
        return self._connection.get(dict[JobState, int], f"{_PATH}/counts")

    def cancel(self, *job_ids: int) -> Sequence[Job]:
        """Ask that these end; returns them as they are now."""
        return self._connection.post(Page[Job], f"{_PATH}/cancel", {"jobs": list(job_ids)}).items

    def events(self, job_id: int) -> Sequence[JobEvent]:
        """The job's history, the oldest first."""
        return self._connection.get(Page[JobEvent], f"{_PATH}/{job_id}/events").items

    def telemetry(self, job_id: int) -> Telemetry:
        return self._connection.get(Telemetry, f"{_PATH}/{job_id}/telemetry")

    def why(self, job_id: int, *, nodes: bool = False, language: str = "en") -> Finding:
        """Why it waits, or how it ended.

        Of a waiting job `waiting` holds codes and values: the cause, what would start it, when it will, and with
        `nodes` what each node lacks. `language`, en or zh, is that of the sentences beside it.
        """
        query = {"nodes": str(nodes).lower(), "lang": language}
        return self._connection.get(Finding, f"{_PATH}/{job_id}/why", **query)

    def logs(self, job_id: int, *, stream: str = "stdout", offset: int = 0, attempt: int | None = None) -> bytes:
        """All output so far, from byte `offset`, of the last attempt unless told."""
        pieces: list[bytes] = []
        while True:
            query = {"stream": stream, "offset": offset, "limit": _PIECE, "attempt": attempt}
            piece = self._connection.send("GET", f"{_PATH}/{job_id}/logs", query=query).content
            pieces.append(piece)
            offset += len(piece)
            if len(piece) < _PIECE:
                return b"".join(pieces)

    def follow(self, job_id: int, *, stream: str = "stdout", offset: int = 0) -> Iterator[bytes]:
        """Output as it is written, until the job has ended. Goes on after the platform was away for a while."""
        last_answer = time.monotonic()
        while True:
            try:
                with self._connection.stream(
                    "GET", f"{_PATH}/{job_id}/logs", stream=stream, offset=offset, follow="true"
                ) as response:
                    for piece in response.iter_raw():
                        offset += len(piece)
                        yield piece
                last_answer = time.monotonic()
                if self.get(job_id).state.final:  # else the platform is stopping
                    if rest := self.logs(job_id, stream=stream, offset=offset):
                        yield rest
                    return
            except Away:
                if time.monotonic() - last_answer > _ABSENCE_S:
                    raise
                time.sleep(1.0)

    def wait(
        self,
        *job_ids: int,
        timeout: float | None = None,
        on_change: Callable[[Sequence[Job]], Any] | None = None,
    ) -> Sequence[Job]:
        """The jobs once all have ended; `on_change` is told of each change. Raises Away after `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        every = 25.0 if timeout is None else min(25.0, max(0.05, timeout))
        last: Sequence[Job] | None = None
        for jobs in looks(self._connection, lambda: [self.get(job_id) for job_id in job_ids], every=every):
            if on_change is not None and jobs != last:
                on_change(jobs)
            last = jobs
            if all(job.state.final for job in jobs):
                return jobs
            if deadline is not None and time.monotonic() > deadline:
                going = ", ".join(job.label for job in jobs if not job.state.final)
                raise Away(f"job {going} has not ended after {timeout:g} s; wait longer, or see stoker why {going}")
        raise AssertionError("unreachable")
