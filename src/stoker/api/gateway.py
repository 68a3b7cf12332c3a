"""The gateway: completion requests go to a ready replica of the endpoint they name.

This is the hot path, so it is plain ASGI in front of the framework: no routing table, no request models, no
middleware. A request is authenticated, read once, checked, and handed to the replica with the least to do. Until
the first byte has gone back to the caller it may be handed to another replica; after that it cannot.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import aiohttp

from stoker.account import Account
from stoker.api.answer import StreamTap, refusal, tokens_of
from stoker.api.completion import CHAT, TEXT, Call, Limits, read_call
from stoker.api.errors import body_of, code_of, headers_of
from stoker.api.holding import Held
from stoker.api.replicas import Replicas, Timeouts, Unanswered
from stoker.api.usage import NOWHERE, Meter, Route, Tokens
from stoker.endpoint import Replica
from stoker.errors import Away, NotFound, StokerError, TooLarge

_log = logging.getLogger(__name__)

PATHS = frozenset({CHAT, TEXT})
_FEWEST_TRIES = 3  # a kept connection may turn out closed just when it is used: one replica is tried again too
CALLER_LEFT = 499  # nginx's word for it; counted, never sent

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


@dataclass(slots=True)
class _Exchange:
    """One request while it is being answered."""

    send: Send
    path: str
    started: float
    route: Route = NOWHERE
    status: int = 0  # what went back to the caller; 0 while nothing has
    first_byte: float = 0.0
    held: float = 0.0  # seconds that it waited until there was a replica

    async def head(self, status: int, content_type: bytes, *more: tuple[bytes, bytes]) -> None:
        self.status = status
        self.first_byte = perf_counter()
        headers = [(b"content-type", content_type), (b"cache-control", b"no-store"), *more]
        await self.send({"type": "http.response.start", "status": status, "headers": headers})

    async def whole(self, status: int, body: bytes, *more: tuple[bytes, bytes]) -> None:
        await self.head(status, b"application/json", (b"content-length", b"%d" % len(body)), *more)
        await self.send({"type": "http.response.body", "body": body})


class Gateway:
    """An ASGI application for `PATHS`. Open it on the loop it will serve on."""

    def __init__(
        self,
        identify: Callable[[Scope], Account],
        route: Callable[[str, Account], Sequence[Replica]],
        *,
        patience: Callable[[str], float] = lambda _model: 0.0,
        limits: Limits | None = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        """`identify` says who sent a request, `route` which replicas serve a model to them, `patience` how
        many seconds a request waits where there is none; all from memory."""
        self._identify = identify
        self._route = route
        self._patience = patience
        self._limits = limits or Limits()
        self._replicas = Replicas(timeouts)
        self._held = Held(self._limits.held)
        self.meter = Meter()

    async def open(self) -> None:
        await self._replicas.open()

    async def close(self) -> None:
        await self._replicas.close()

    @property
    def in_flight(self) -> Counter[int]:
        """Requests by the job of the replica that works on them; a drained replica is absent."""
        return self._replicas.in_flight

    @property
    def held(self) -> Counter[str]:
        """Requests that wait for a replica, by the endpoint's name; who has none is absent."""
        return self._held.waiting

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = _Exchange(send, scope["path"], perf_counter())
        try:
            await self._serve(scope, receive, exchange)
        except StokerError as error:
            await _refuse(exchange, error)
        finally:
            status = exchange.status or CALLER_LEFT
            self.meter.ended(exchange.route, status, perf_counter() - exchange.started)
            if exchange.first_byte:
                self.meter.first_bytes[exchange.route].add(exchange.first_byte - exchange.started)

    async def _serve(self, scope: Scope, receive: Receive, exchange: _Exchange) -> None:
        if scope["method"] != "POST":
            await exchange.whole(
                405, body_of(405, "POST is allowed", code="method_not_allowed"), (b"allow", b"POST")
            )
            return
        account = self._identify(scope)
        raw = await _read_body(scope, receive, self._limits.body)
        if raw is None:
            return
        call = read_call(exchange.path, raw, self._limits)
        self._route_to(call.model, account)  # an unknown model is refused before anything is counted for it
        exchange.route = Route(account.tenant, call.model)
        await _while_connected(receive, self._answer(call, account, exchange))

    def _route_to(self, model: str, account: Account) -> Sequence[Replica]:
        try:
            return self._route(model, account)
        except NotFound as error:
            raise _ModelNotFound(str(error)) from None

    async def _answer(self, call: Call, account: Account, exchange: _Exchange) -> None:
        tries: Counter[int] = Counter()
        while True:
            replicas = self._route_to(call.model, account)  # asked again each time: a swap may be going on
            replica = self._replicas.choose(replicas, tries)
            if replica is None:
                exchange.held += await self._held.wait(
                    call.model,
                    lambda: bool(self._route_to(call.model, account)),
                    since=exchange.started,
                    patience=self._patience(call.model),
                )
                continue
            tries[replica.job] += 1
            last = tries.total() >= max(_FEWEST_TRIES, len(replicas))
            try:
                with self._replicas.working(replica):
                    tokens = await self._ask(replica, call, exchange, last=last)
            except Unanswered as error:
                _log.warning("%s: job %d did not answer: %s", call.model, replica.job, error)
                if last:
                    raise Away(
                        f'the replicas of "{call.model}" do not answer; try again in a few seconds'
                    ) from None
                self.meter.retries[exchange.route] += 1
                continue
            self.meter.used(account, exchange.route, tokens)
            if call.stream and exchange.status == 200:
                first, now = exchange.first_byte, perf_counter()
                waited = first - exchange.started - exchange.held  # a start is no sign of too few replicas
                self.meter.streamed(exchange.route, waited, now - first, tokens.completion)
            return

    async def _ask(self, replica: Replica, call: Call, exchange: _Exchange, *, last: bool) -> Tokens:
        response = await self._replicas.post(replica, exchange.path, call.body)
        try:
            if response.status == 503 and not last:  # loading or full: another may have room
                raise Unanswered("503")
            if response.status == 200 and call.stream:
                return await _stream(response, call, exchange)
            return await _whole(response, call, exchange)
        finally:
            if call.stream:
                response.close()  # llama.cpp hangs up after a stream, though it says that it will not
            response.release()  # closes the connection, and so ends the engine's work, unless all was read


async def _whole(response: aiohttp.ClientResponse, call: Call, exchange: _Exchange) -> Tokens:
    try:
        body = await response.read()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise Unanswered(f"broke off: {type(error).__name__}") from None
    if response.status == 200:
        await exchange.whole(200, body)
        return tokens_of(body)
    retry = ((b"retry-after", b"2"),) if response.status in (429, 503) else ()
    await exchange.whole(response.status, refusal(response.status, body, f'the engine of "{call.model}"'), *retry)
    return Tokens()


async def _stream(response: aiohttp.ClientResponse, call: Call, exchange: _Exchange) -> Tokens:
    tap = StreamTap(keep_usage=call.wants_usage)
    pieces = response.content.iter_any().__aiter__()
    broken = b""
    try:
        piece = await anext(pieces, b"")  # nothing has gone back yet, so another replica could still be asked
    except (aiohttp.ClientError, TimeoutError) as error:
        raise Unanswered(f"broke off: {type(error).__name__}") from None
    await exchange.head(200, b"text/event-stream; charset=utf-8", (b"x-accel-buffering", b"no"))
    try:
        while piece:
            if ready := tap.pass_on(piece):
                await exchange.send({"type": "http.response.body", "body": ready, "more_body": True})
            piece = await anext(pieces, b"")
    except (aiohttp.ClientError, TimeoutError):
        _log.warning("%s: the answer broke off after it had begun", call.model)
        broken = b"\n\ndata: " + body_of(502, f'the engine of "{call.model}" broke off', code="broken") + b"\n\n"
    await exchange.send({"type": "http.response.body", "body": tap.rest() + broken})
    return tap.tokens


class _ModelNotFound(NotFound):
    """A NotFound that carries OpenAI's own code."""


async def _refuse(exchange: _Exchange, error: StokerError) -> None:
    if exchange.status:
        return
    missing = isinstance(error, _ModelNotFound)
    code, param = ("model_not_found", "model") if missing else (code_of(error), error.param)
    more = [(name.lower().encode(), value.encode()) for name, value in headers_of(error).items()]
    await exchange.whole(error.http_status, body_of(error.http_status, str(error), code=code, param=param), *more)


async def _read_body(scope: Scope, receive: Receive, limit: int) -> bytes | None:
    """The request's body; None when the caller left; raises TooLarge as soon as it is known."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > limit:
            raise TooLarge(f"the request has {int(value):,} bytes; allowed are {limit:,}")
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        piece = message.get("body", b"")
        size += len(piece)
        if size > limit:
            raise TooLarge(f"the request has over {limit:,} bytes, which is the most that is allowed")
        pieces.append(piece)
        if not message.get("more_body"):
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def _while_connected(receive: Receive, work: Awaitable[None]) -> None:
    """Do `work`, but stop when the caller has gone: the engine has others to serve."""
    here = asyncio.current_task()
    if here is None:
        raise RuntimeError("the gateway runs in a task")
    gone = False

    async def watch() -> None:
        nonlocal gone
        while (await receive())["type"] != "http.disconnect":
            pass
        gone = True
        here.cancel()

    watcher = asyncio.ensure_future(watch())
    try:
        await work
    except asyncio.CancelledError:
        if not gone:
            raise
        here.uncancel()
    finally:
        watcher.cancel()
