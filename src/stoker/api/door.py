"""What every request passes before the framework sees it: whose server was meant, how much was sent, safe headers.

Plain ASGI, because the framework's own middleware base buffers and slows streams.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any

from stoker.api.errors import body_of, code_of, headers_of
from stoker.errors import BadInput, StokerError, TooLarge

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_FOR_PROGRAMS = ("/api/", "/v1/")  # the console's pages have their own sign-in
_UPLOADS = frozenset({"/v1/files", "/api/v1/files"})
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
        self,
        inside: Application,
        *,
        admit: Callable[[Scope], object],
        hosts: Collection[str] = (),
        body_limit: int,
        upload_limit: int,
    ) -> None:
        """`admit` raises Denied for who has no key; `hosts` are names this server answers to, any when empty.

        Limits are in bytes.
        """
        self._inside = inside
        self._admit = admit
        self._hosts = frozenset(hosts)
        self._body_limit = body_limit
        self._upload_limit = upload_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._inside(scope, receive, send)
            return
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        try:
            self._check(scope, headers)
        except StokerError as error:
            await _refuse(send, error)
            return
        await self._inside(scope, _bounded(receive, self._limit(scope)), _with_headers(send))

    def _check(self, scope: Scope, headers: dict[bytes, str]) -> None:
        host = headers.get(b"host", "")
        if self._hosts and _name(host) not in self._hosts:
            # A page elsewhere may have pointed its own name at this address to reach it through a browser.
            raise BadInput(f'this server does not answer to the name "{_name(host)}"; see: stoker up --allow-host')
        if scope["method"] in _WITH_BODY and scope["path"].startswith(_FOR_PROGRAMS):
            self._admit(scope)  # the framework would read the whole body before it asks for a key
        length = headers.get(b"content-length", "")
        limit = self._limit(scope)
        if length.isdigit() and int(length) > limit:
            raise TooLarge(f"the request has {int(length):,} bytes; allowed are {limit:,}")

    def _limit(self, scope: Scope) -> int:
        return self._upload_limit if scope["path"] in _UPLOADS else self._body_limit


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
    headers += [(name.lower().encode(), value.encode()) for name, value in headers_of(error).items()]
    await send({"type": "http.response.start", "status": error.http_status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
