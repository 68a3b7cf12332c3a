"""Api: calls to one API server, with plain dictionaries in and out.

There is no generated client between: of a thousand objects we look at a few fields, and making typed objects of all
of them takes longer than everything else (docs/decisions/0105-a-thin-client-on-aiohttp.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

import aiohttp

from stoker.engines.kubernetes.credentials import Credentials
from stoker.engines.kubernetes.kubeconfig import Access
from stoker.errors import Away, BadInput, StokerError

Object = dict[str, Any]
_CALL_S = 30.0  # longest a call may take
_CONNECT_S = 5.0
_AT_ONCE = 32  # calls under way; streams do not count
_PAGE = 500  # objects of one page of a list
_MERGE = "application/merge-patch+json"


class Refused(StokerError):
    """The API server understood and said no."""

    def __init__(self, status: int, answer: Mapping[str, Any]) -> None:
        super().__init__(str(answer.get("message") or f"HTTP {status}"))
        self.status = status
        self.reason = str(answer.get("reason") or "")
        self.details: Mapping[str, Any] = answer.get("details") or {}


class Api:
    """Lives in one event loop. Every method raises Away when the server does not answer or does not know us."""

    def __init__(self, access: Access, read_access: Callable[[], Access]) -> None:
        """`read_access` is asked when the server refuses us: the kubeconfig may have been renewed."""
        self._read_access = read_access
        self._access = access
        self._credentials = Credentials(self._access)
        self._calls: aiohttp.ClientSession | None = None
        self._streams: aiohttp.ClientSession | None = None
        self._turn = asyncio.Semaphore(_AT_ONCE)
        self.count = 0  # requests sent

    @property
    def server(self) -> str:
        return self._access.server

    async def close(self) -> None:
        for session in (self._calls, self._streams):
            if session is not None:
                await session.close()
        self._calls = self._streams = None

    async def get(self, path: str, **query: str) -> Object:
        return await self.call("GET", path, query=query)

    async def create(self, path: str, body: Mapping[str, Any]) -> Object:
        return await self.call("POST", path, body)

    async def patch(self, path: str, body: Mapping[str, Any]) -> Object:
        """A merge patch (RFC 7386): None removes."""
        return await self.call("PATCH", path, body, kind=_MERGE)

    async def delete(self, path: str, *, grace: int | None = None, uid: str = "") -> bool:
        """Whether there was such a thing. With `uid` only this very object is deleted."""
        body: Object = {"propagationPolicy": "Background"}
        if grace is not None:
            body["gracePeriodSeconds"] = grace
        if uid:
            body["preconditions"] = {"uid": uid}
        try:
            await self.call("DELETE", path, body)
        except Refused as no:
            if no.status == 404 or (no.status == 409 and uid):
                return False
            raise
        return True

    async def list(self, path: str, **query: str) -> tuple[list[Object], str]:
        """All objects, page by page, and the resource version they are of."""
        items: list[Object] = []
        following = {"limit": str(_PAGE)}
        while True:
            page = await self.get(path, **query, **following)
            items += page.get("items") or ()
            if not (more := page["metadata"].get("continue")):
                return items, str(page["metadata"]["resourceVersion"])
            following = {"limit": str(_PAGE), "continue": more}

    async def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, str] | None = None,
        kind: str = "application/json",
    ) -> Object:
        """The answer as JSON. Raises Refused for 4xx."""
        data = None if body is None else json.dumps(body).encode()
        async with self._turn, self._answer(method, path, query, data, kind) as reply:
            answer: Object = await _json(reply)
            return answer

    @contextlib.asynccontextmanager
    async def stream(self, path: str, **query: str) -> AsyncIterator[aiohttp.StreamReader]:
        """The answer's bytes as they come, without a limit of time between them but that of a watch."""
        async with self._answer("GET", path, query, None, "", stream=True) as reply:
            with _away(self.server):
                yield reply.content

    async def socket(self, path: str, protocol: str, **query: str) -> aiohttp.ClientWebSocketResponse:
        with _away(self.server):
            return await self._session(stream=True).ws_connect(
                self.server + path,
                params=query,
                protocols=(protocol,),
                headers=await self._headers(""),
                ssl=self._access.tls,
                heartbeat=30.0,
            )

    @contextlib.asynccontextmanager
    async def _answer(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        data: bytes | None,
        kind: str,
        *,
        stream: bool = False,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        reply = await self._send(method, path, query, data, kind, stream=stream)
        if reply.status == 401:
            reply.release()
            self._renew(reply)
            reply = await self._send(method, path, query, data, kind, stream=stream)
        try:
            if reply.status >= 400:
                raise await _trouble(reply, self._access)
            yield reply
        finally:
            reply.close() if stream else reply.release()

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        data: bytes | None,
        kind: str,
        *,
        stream: bool,
    ) -> aiohttp.ClientResponse:
        self.count += 1
        total = None if stream else _CALL_S
        with _away(self.server):
            return await self._session(stream=stream).request(
                method,
                self.server + path,
                params=query,
                data=data,
                headers=await self._headers(kind),
                ssl=self._access.tls,
                server_hostname=self._access.server_name or None,
                proxy=self._access.proxy or None,
                timeout=aiohttp.ClientTimeout(total=total, sock_connect=_CONNECT_S),
            )

    async def _headers(self, kind: str) -> dict[str, str]:
        headers = {"Accept": "application/json"} | ({"Content-Type": kind} if kind else {})
        if who := await self._credentials.header():
            headers["Authorization"] = who
        return headers

    def _renew(self, reply: aiohttp.ClientResponse) -> None:
        """Get other credentials; the kubeconfig is read again, somebody may have put a new one in its place."""
        self._credentials.reject(reply.request_info.headers.get("Authorization", ""))
        if "exec" not in self._access.user:
            with contextlib.suppress(BadInput):  # half written just now: the next refusal reads it again
                self._access = self._read_access()
            self._credentials = Credentials(self._access)

    def _session(self, *, stream: bool) -> aiohttp.ClientSession:
        """Long streams have connections of their own, so that they never keep a call waiting."""
        if self._calls is None or self._streams is None:
            self._calls, self._streams = (
                aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=limit), trust_env=True)
                for limit in (_AT_ONCE, 0)
            )
        return self._streams if stream else self._calls


@contextlib.contextmanager
def _away(server: str) -> Iterator[None]:
    try:
        yield
    except TimeoutError:
        raise Away(f"the API server {server} did not answer in time") from None
    except (aiohttp.ClientConnectorCertificateError, ssl.SSLCertVerificationError) as error:
        raise Away(f"the certificate of the API server {server} is not trusted: {_short(error)}") from None
    except (aiohttp.ClientError, OSError) as error:
        raise Away(f"the API server {server} does not answer: {_short(error)}") from None


def _short(error: BaseException) -> str:
    found = getattr(error, "os_error", None) or error
    return str(getattr(found, "strerror", None) or found or type(found).__name__)[:300]


async def _json(reply: aiohttp.ClientResponse) -> Any:
    with _away(str(reply.url.origin())):
        text = await reply.read()
    try:
        return json.loads(text)
    except ValueError:
        raise Away(f"{reply.url.origin()} answers what is no JSON; is it an API server?") from None


async def _trouble(reply: aiohttp.ClientResponse, access: Access) -> StokerError:
    """What an answer of 400 or more means."""
    try:
        answer = json.loads(await reply.text())
        answer = answer if isinstance(answer, dict) else {}
    except (ValueError, aiohttp.ClientError):
        answer = {}
    said = str(answer.get("message") or reply.reason or "")
    if reply.status == 401:
        return Away(f"the API server does not accept the credentials of {access.source} (expired?); renew them")
    if reply.status == 429 or reply.status >= 500:
        return Away(f"the API server {access.server} cannot answer now: {said[:300]} (HTTP {reply.status})")
    return Refused(reply.status, {"message": said, **answer})
