"""What every request passes before the framework sees it: whose server was meant, how much was sent, safe headers.

Plain ASGI, because the framework's own middleware base buffers and slows streams.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any

from stoker.api.errors import body_of, code_of
from stoker.errors import BadInput, StokerError, TooLarge

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
_POLICY = (
    b"default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; "
    b"base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
)
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"content-security-policy", _POLICY),
    (b"cache-control", b"no-store"),
)


class Door:
    """Wraps the application."""

    def __init__(
        self, inside: Application, *, hosts: Collection[str] = (), body_limit: int, upload_limit: int
    ) -> None:
        """`hosts`: names this server answers to, any when empty. Limits in bytes; uploads are multipart forms."""
        self._inside = inside
        self._hosts = frozenset(hosts)
        self._body_limit = body_limit
        self._upload_limit = upload_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._inside(scope, receive, send)
            return
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        try:
            self._check(headers)
        except StokerError as error:
            await _refuse(send, error)
            return
        limit = self._limit(headers)
        await self._inside(scope, _bounded(receive, limit), _with_headers(send))

    def _check(self, headers: dict[bytes, str]) -> None:
        host = headers.get(b"host", "")
        if self._hosts and _name(host) not in self._hosts:
            # A page elsewhere may have pointed its own name at this address to reach it through a browser.
            raise BadInput(f'this server does not answer to the name "{_name(host)}"; see: stoker up --allow-host')
        length = headers.get(b"content-length", "")
        limit = self._limit(headers)
        if length.isdigit() and int(length) > limit:
            raise TooLarge(f"the request has {int(length):,} bytes; allowed are {limit:,}")

    def _limit(self, headers: dict[bytes, str]) -> int:
        is_upload = headers.get(b"content-type", "").lower().startswith("multipart/form-data")
        return self._upload_limit if is_upload else self._body_limit


def _name(host: str) -> str:
    """``[::1]:8700`` -> ``[::1]``"""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].lower()


def _bounded(receive: Receive, limit: int) -> Receive:
    """Bodies without a length are counted as they come."""
    left = limit

    async def bounded() -> Message:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise TooLarge(f"the request has over {limit:,} bytes, which is the most that is allowed")
        return message

    return bounded


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = message.get("headers", [])
            present = {name.lower() for name, _ in given}
            message["headers"] = [*given, *((name, value) for name, value in _HEADERS if name not in present)]
        await send(message)

    return sending


async def _refuse(send: Send, error: StokerError) -> None:
    body = body_of(error.http_status, str(error), code=code_of(error))
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": error.http_status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
