"""Connections to the replicas behind endpoints, and how many requests each is working on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import aiohttp

from stoker.endpoint import Replica, ReplicaState


@dataclass(frozen=True)
class Timeouts:
    """In seconds."""

    connect: float = 5.0
    silence: float = 600.0  # between two pieces of an answer; the first may wait for a long prompt and a queue


class Unanswered(Exception):
    """A replica sent nothing back: another may be asked."""


class Replicas:
    """One pool of kept-alive connections for all replicas. Lives on the gateway's event loop."""

    def __init__(self, timeouts: Timeouts | None = None) -> None:
        self._timeouts = timeouts or Timeouts()
        self._session: aiohttp.ClientSession | None = None
        self.in_flight: Counter[int] = Counter()  # by the replica's job; read by the desk that drains

    async def open(self) -> None:
        limits = self._timeouts
        self._session = aiohttp.ClientSession(
            # llama.cpp's server hangs up after 5 idle seconds: be first, or a request may meet a closing door.
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=60, keepalive_timeout=4),
            timeout=aiohttp.ClientTimeout(total=None, connect=limits.connect, sock_read=limits.silence),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept-Encoding", "Accept"),
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def choose(self, replicas: Sequence[Replica], tries: Counter[int]) -> Replica | None:
        """The ready one that was tried least, and among those has least to do; None when none is ready."""
        ready = [replica for replica in replicas if replica.state is ReplicaState.READY]
        if len(ready) < 2:
            return ready[0] if ready else None
        return min(ready, key=lambda replica: (tries[replica.job], self.in_flight[replica.job]))

    @contextmanager
    def working(self, replica: Replica) -> Iterator[None]:
        """Counts one request against `replica`."""
        self.in_flight[replica.job] += 1
        try:
            yield
        finally:
            self.in_flight[replica.job] -= 1
            if not self.in_flight[replica.job]:
                del self.in_flight[replica.job]

    async def post(self, replica: Replica, path: str, body: bytes) -> aiohttp.ClientResponse:
        """The head of the replica's answer; raises Unanswered when there is none."""
        if self._session is None:
            raise RuntimeError("open() the replicas first")
        headers = {"Content-Type": "application/json"}
        if replica.secret:
            headers["Authorization"] = f"Bearer {replica.secret}"
        try:
            return await self._session.post(replica.url + path, data=body, headers=headers, allow_redirects=False)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unanswered(f"{type(error).__name__}: {error}") from None
