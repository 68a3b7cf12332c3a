"""Waiting for changes: one thread watches the platform's change counter for every caller that waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import Response, StreamingResponse

from stoker.api.auth import Caller
from stoker.api.wire import Json

_BLOCK_S = 1.0  # how long the watching thread waits at a time, and so what stopping may take
_HEARTBEAT_S = 15.0  # proxies drop streams that are silent for longer

router = APIRouter(tags=["changes"])


@dataclass(frozen=True)
class Change:
    """The counter that every move of a job's state raises. It starts again when the server does."""

    counter: int


class Pulse:
    """The change counter, awaitable."""

    def __init__(self, wait_change: Callable[[int, float], int]) -> None:
        self._wait_change = wait_change
        self._changed = asyncio.Event()
        self.counter = 0
        self.closing = False  # the server is stopping: streams end, so that it need not wait for them

    def close(self) -> None:
        self.closing = True
        self._changed.set()

    async def watch(self) -> None:
        """Run until cancelled."""
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1, "changes") as thread:
            while True:
                counter = await loop.run_in_executor(thread, self._wait_change, self.counter, _BLOCK_S)
                if counter != self.counter:
                    self.counter = counter
                    self._changed.set()
                    self._changed = asyncio.Event()

    async def wait(self, since: int, timeout_s: float) -> int:
        """The counter, as soon as it is another than `since` or the time is over."""
        changed = self._changed
        if self.counter == since and not self.closing:
            with suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), timeout_s)
        return self.counter


def pulse_of(request: Request) -> Pulse:
    pulse: Pulse = request.app.state.pulse
    return pulse


@router.get(
    "/changes",
    response_model=Change,
    responses={200: {"content": {"text/event-stream": {}}, "description": "JSON, or events when asked for"}},
)
async def changes(
    request: Request,
    _who: Caller,
    since: Annotated[int, Query(ge=0, le=2**63 - 1)] = 0,
    timeout: Annotated[float, Query(ge=0, le=60, description="seconds to wait for a change")] = 25,  # noqa: ASYNC109
    accept: Annotated[str, Header()] = "",
) -> Response:
    """Wait until the change counter is another than `since`. As events when `Accept: text/event-stream` is sent."""
    pulse = pulse_of(request)
    if "text/event-stream" in accept:
        return StreamingResponse(_events(pulse, since), media_type="text/event-stream")
    return Json(Change(await pulse.wait(since, timeout)))


async def _events(pulse: Pulse, since: int) -> AsyncIterator[str]:
    yield "retry: 1000\n\n"
    while not pulse.closing:
        counter = await pulse.wait(since, _HEARTBEAT_S)
        yield ": still here\n\n" if counter == since else f'event: change\ndata: {{"counter":{counter}}}\n\n'
        since = counter
