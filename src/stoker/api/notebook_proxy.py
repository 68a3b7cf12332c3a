"""The way from a browser to a notebook: HTTP and websockets below ``/notebooks/<job>/``.

Plain ASGI, as the gateway is. Nothing is buffered: a piece is read from one side when the other has taken the one
before, in both directions.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import suppress
from time import monotonic
from typing import Any, Protocol

import aiohttp
import yarl
from anyio.to_thread import run_sync

from stoker.account import Account
from stoker.api import notebook_entry, notebook_pages
from stoker.api.notebook_entry import Asked
from stoker.control.notebooks import Door
from stoker.errors import Away, NotFound, StokerError
from stoker.job import Job
from stoker.notebook import Site

_log = logging.getLogger(__name__)
_KNOWN_S = 1.0  # how long a door is believed before it is looked at again
_MOST_DOORS = 4096
_CONNECT_S = 5.0
_PIECE = 1 << 16

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Desk(Protocol):
    """What is asked of the NotebookDesk; its calls may take a moment."""

    site: Site

    def door(self, job_id: int) -> Door: ...
    def check_may_open(self, job: Job, who: Account) -> None: ...


class NotebookProxy:
    """An ASGI application. Open it on the loop it will serve on."""

    def __init__(self, desk: Desk, authenticate: Callable[[str], Account]) -> None:
        self._desk = desk
        self._authenticate = authenticate
        self._session: aiohttp.ClientSession | None = None
        self._doors: dict[int, tuple[float, Door]] = {}

    async def open(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
            timeout=aiohttp.ClientTimeout(total=None, connect=_CONNECT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            read_bufsize=_PIECE,
            skip_auto_headers=("User-Agent", "Accept-Encoding", "Accept", "Content-Type"),
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return
        websocket = scope["type"] == "websocket"
        answer = _Answer(scope, send)
        try:
            asked = notebook_entry.read(scope)
            if asked is None:
                raise NotFound("no notebook has this address")
            door = await self._let_in(asked, websocket=websocket)
            if websocket:
                await self._carry_messages(scope, receive, send, asked, door)
            elif asked.in_query and asked.navigates:
                await answer.go(notebook_entry.target(asked, ""), self._cookie(scope, asked, door))
            else:
                await self._carry(scope, receive, answer, asked, door)
        except StokerError as error:
            await answer.refuse(error)

    async def _let_in(self, asked: Asked, *, websocket: bool) -> Door:
        """The door of the notebook that was asked for, if it answers. Raises Denied, NotFound, Away."""
        door = await self._door(asked)
        notebook_entry.check_source(asked, websocket=websocket)
        if not self._desk.site.answers_to(asked.job, asked.headers.get(b"host", b"").decode("latin-1")):
            raise NotFound("no notebook has this address")
        if not door.address:
            raise notebook_pages.Closed(door.job)
        return door

    async def _door(self, asked: Asked) -> Door:
        """Whoever may not come in is told the same, whether there is such a notebook or not."""
        if asked.key:
            who = await run_sync(self._authenticate, asked.key)
            door = await self._look(asked.job)
            self._desk.check_may_open(door.job, who)
            return door
        try:
            door = await self._look(asked.job)
        except NotFound:
            raise notebook_pages.NoWayIn from None
        if not notebook_entry.is_right(asked, door.token):
            raise notebook_pages.NoWayIn
        return door

    async def _look(self, job: int) -> Door:
        seen_at, door = self._doors.get(job, (0.0, None))
        if door is not None and monotonic() - seen_at < _KNOWN_S:
            return door
        door = await run_sync(self._desk.door, job)
        if len(self._doors) >= _MOST_DOORS:
            self._doors.clear()
        self._doors[job] = (monotonic(), door)
        return door

    def _cookie(self, scope: Scope, asked: Asked, door: Door) -> bytes:
        forwarded = asked.headers.get(b"x-forwarded-proto", b"")
        secure = scope.get("scheme") in ("https", "wss") or forwarded == b"https"
        return notebook_entry.cookie_for(asked, door.token, secure=secure)

    def _gone(self, door: Door, error: Exception) -> Away:
        """The notebook did not answer; whether it has ended is looked at anew the next time."""
        self._doors.pop(door.job.id, None)
        _log.info("notebook %d did not answer: %s", door.job.id, type(error).__name__)
        return Away(f"notebook {door.job.id} does not answer; reload in a few seconds")

    @property
    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("open() the proxy first")
        return self._session

    async def _carry(self, scope: Scope, receive: Receive, answer: _Answer, asked: Asked, door: Door) -> None:
        body = _Body(receive)
        has_body = b"content-length" in asked.headers or b"transfer-encoding" in asked.headers
        headers = notebook_entry.headers_in(asked, scope["headers"], door.token)
        if length := asked.headers.get(b"content-length"):
            headers.append(("Content-Length", length.decode("latin-1")))
        watching = asyncio.ensure_future(_until_gone(body, here=asyncio.current_task()))
        if not has_body:
            body.read.set()
        try:
            async with self._client.request(
                asked.method,
                yarl.URL(notebook_entry.target(asked, door.address), encoded=True),
                headers=headers,
                data=body.pieces() if has_body else None,
                allow_redirects=False,
            ) as response:
                await answer.begin(response.status, notebook_entry.headers_back(response.raw_headers, asked.job))
                async for piece in response.content.iter_any():
                    await answer.more(piece)
                await answer.end()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if answer.begun:
                raise _BrokenOff from None  # uvicorn cuts the connection: the browser sees that it is not whole
            raise self._gone(door, error) from None
        except asyncio.CancelledError:
            if not body.gone:
                raise
            asyncio.current_task().uncancel()  # type: ignore[union-attr]
        finally:
            watching.cancel()

    async def _carry_messages(self, scope: Scope, receive: Receive, send: Send, asked: Asked, door: Door) -> None:
        await receive()  # websocket.connect
        try:
            upstream = await self._client.ws_connect(
                yarl.URL(notebook_entry.target(asked, door.address), encoded=True),
                protocols=scope.get("subprotocols") or (),
                headers=notebook_entry.headers_in(asked, scope["headers"], door.token),
                max_msg_size=0,  # what a cell prints is the user's own affair
                autoclose=True,
                timeout=aiohttp.ClientWSTimeout(ws_close=5.0),
            )
        except aiohttp.WSServerHandshakeError as error:
            raise NotFound(f"the notebook has nothing there ({error.status})") from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._gone(door, error) from None
        async with upstream:
            await send({"type": "websocket.accept", "subprotocol": upstream.protocol})
            up = asyncio.ensure_future(_to_notebook(receive, upstream))
            down = asyncio.ensure_future(_to_browser(upstream, send))
            try:
                await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in (up, down):
                    pump.cancel()
                    with suppress(asyncio.CancelledError, aiohttp.ClientError, OSError):
                        await pump


class _BrokenOff(Exception):
    """The notebook's server broke off in the middle of an answer."""


class _Answer:
    """What goes back to the browser, over HTTP or in place of a websocket."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope = scope
        self._send = send
        self._kind = "websocket.http.response" if scope["type"] == "websocket" else "http.response"
        self.begun = False

    async def begin(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.begun = True
        await self._send({"type": f"{self._kind}.start", "status": status, "headers": headers})

    async def more(self, piece: bytes) -> None:
        await self._send({"type": f"{self._kind}.body", "body": piece, "more_body": True})

    async def end(self, piece: bytes = b"") -> None:
        await self._send({"type": f"{self._kind}.body", "body": piece})

    async def go(self, where: str, cookie: bytes) -> None:
        headers = [
            (b"location", where.encode("latin-1")), (b"set-cookie", cookie), (b"content-length", b"0"),
            (b"cache-control", b"no-store"), (b"referrer-policy", b"no-referrer"),
        ]  # fmt: skip
        await self.begin(303, headers)
        await self.end()

    async def refuse(self, error: StokerError) -> None:
        if self.begun:
            return
        if self._kind != "http.response" and "websocket.http.response" not in self._scope.get("extensions", {}):
            await self._send({"type": "websocket.close", "code": 1008})
            return
        status, headers, body = notebook_pages.answer_to(error, dict(self._scope["headers"]))
        await self.begin(status, headers)
        await self.end(body)


class _Body:
    """The request's body as it comes."""

    def __init__(self, receive: Receive) -> None:
        self.receive = receive
        self.read = asyncio.Event()  # all of it
        self.gone = False  # the browser has left

    async def pieces(self) -> AsyncIterator[bytes]:
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                self.gone = True
                self.read.set()
                raise aiohttp.ClientPayloadError("the browser has left")
            if piece := message.get("body", b""):
                yield piece
            if not message.get("more_body"):
                self.read.set()
                return


async def _until_gone(body: _Body, here: asyncio.Task[Any] | None) -> None:
    """Cancel the work `here` when the browser leaves: endless answers have nobody to read them any more."""
    await body.read.wait()
    while not body.gone and (await body.receive())["type"] != "http.disconnect":
        pass
    body.gone = True
    if here is not None:
        here.cancel()


async def _to_notebook(receive: Receive, upstream: aiohttp.ClientWebSocketResponse) -> None:
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            await upstream.close(code=_sendable(message.get("code")), message=_reason(message.get("reason")))
            return
        if (text := message.get("text")) is not None:
            await upstream.send_str(text)
        else:
            await upstream.send_bytes(message["bytes"])


async def _to_browser(upstream: aiohttp.ClientWebSocketResponse, send: Send) -> None:
    while True:
        message = await upstream.receive()
        if message.type is aiohttp.WSMsgType.TEXT:
            await send({"type": "websocket.send", "text": message.data})
        elif message.type is aiohttp.WSMsgType.BINARY:
            await send({"type": "websocket.send", "bytes": message.data})
        elif message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSING,
                              aiohttp.WSMsgType.ERROR):  # fmt: skip
            reason = message.extra if isinstance(message.extra, str) else ""
            await send({"type": "websocket.close", "code": _sendable(upstream.close_code, 1001), "reason": reason})
            return


def _sendable(code: int | None, otherwise: int = 1000) -> int:
    """A close code that may be sent: 1005, 1006 and 1015 only tell that there was none."""
    return (
        code if code is not None and (1000 <= code <= 4999) and code not in (1004, 1005, 1006, 1015) else otherwise
    )


def _reason(text: str | None) -> bytes:
    return (text or "").encode()[:120]
