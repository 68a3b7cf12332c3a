"""A client that costs next to nothing: each connection sends its next request when it has its answer."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import cast
from urllib.parse import urlsplit

import httptools
import uvloop


@dataclass(frozen=True)
class Load:
    """What was measured of one server: how long each whole answer took, and all of them together, in seconds."""

    latencies: tuple[float, ...] = ()
    spent: float = 0.0

    def __add__(self, other: Load) -> Load:
        return Load(self.latencies + other.latencies, self.spent + other.spent)

    @property
    def requests_per_s(self) -> float:
        return len(self.latencies) / self.spent

    @property
    def median_s(self) -> float:
        return median(self.latencies)

    @property
    def p99_s(self) -> float:
        return sorted(self.latencies)[int(len(self.latencies) * 0.99)]


class _Connection(asyncio.Protocol):
    """Sends one prepared request at a time; its answer must be good and whole."""

    def __init__(self, url: str, request: bytes) -> None:
        self._address = urlsplit(url)
        self._request = request
        self._transport: asyncio.Transport | None = None
        self._done: asyncio.Future[None] | None = None

    async def ask(self) -> None:
        """Send, and wait for the whole answer; once more where a server (llama.cpp) has closed without a word."""
        if self._transport is not None and not self._transport.is_closing():
            try:
                await self._exchange()
            except ConnectionError:
                pass
            else:
                return
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self, self._address.hostname, self._address.port)
        await self._exchange()

    async def _exchange(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._done = asyncio.get_running_loop().create_future()
        cast("asyncio.Transport", self._transport).write(self._request)
        await self._done

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(ConnectionError(f"the server hung up: {exc}"))

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        assert self._done is not None
        if not self._parser.should_keep_alive():
            self.close()
        if (status := self._parser.get_status_code()) == 200:
            self._done.set_result(None)
        else:
            self._done.set_exception(RuntimeError(f"the server answered {status}"))


def measure(
    url: str, path: str, body: Mapping[str, object], *, key: str, concurrency: int, requests: int, warm_up: int
) -> Load:
    """Send `requests` after `warm_up` uncounted ones."""
    host = urlsplit(url).netloc
    content = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
    )
    request = f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content
    return uvloop.run(_measure(url, request, concurrency, requests, warm_up))


async def _measure(url: str, request: bytes, concurrency: int, requests: int, warm_up: int) -> Load:
    connections = [_Connection(url, request) for _ in range(concurrency)]
    await _run(connections, warm_up)
    started = time.perf_counter()
    latencies = await _run(connections, requests)
    spent = time.perf_counter() - started
    for connection in connections:
        connection.close()
    return Load(tuple(latencies), spent)


async def _run(connections: list[_Connection], requests: int) -> list[float]:
    latencies: list[float] = []
    left = iter(range(requests))

    async def ask(connection: _Connection) -> None:
        for _ in left:
            started = time.perf_counter()
            await connection.ask()
            latencies.append(time.perf_counter() - started)

    await asyncio.gather(*(ask(connection) for connection in connections))
    return latencies
