"""HTTP to the platform: typed answers, errors as the exceptions they were, and retries where they are safe."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx

from stoker import __version__
from stoker.client.config import Login
from stoker.errors import Away, BadInput, Denied, NotFound, StokerError, kind_of
from stoker.typed import read

T = TypeVar("T")

_TRIES = 4
_FIRST_PAUSE_S = 0.2  # doubled at each further try
_AWAY = frozenset({502, 503, 504})
_SAFE = frozenset({"GET", "PUT", "DELETE"})  # sent twice they do what they do once


class Connection:
    """One platform, one key. Thread-safe, as httpx's client is."""

    def __init__(
        self, login: Login, *, timeout: float = 60.0, transport: httpx.BaseTransport | None = None
    ) -> None:
        """`timeout` is the longest silence in seconds."""
        self.login = login
        headers = {"User-Agent": f"stoker-python/{__version__}"}
        if login.api_key:
            headers["Authorization"] = f"Bearer {login.api_key}"
        self._http = httpx.Client(
            base_url=login.url,
            headers=headers,
            timeout=httpx.Timeout(timeout, connect=10.0),
            transport=transport,
            trust_env=not _is_loopback(login.url),  # a company's proxy does not know this machine's own servers
        )

    def close(self) -> None:
        self._http.close()

    def get(self, kind: type[T], path: str, /, **query: Any) -> T:
        return self._read(kind, self.send("GET", path, query=query))

    def post(self, kind: type[T], path: str, body: Any = None, *, idempotency: str = "") -> T:
        """With an `idempotency` key the request is repeated when no answer came."""
        return self._read(kind, self.send("POST", path, body=body, idempotency=idempotency))

    def put(self, kind: type[T], path: str, body: Any) -> T:
        return self._read(kind, self.send("PUT", path, body=body))

    def patch(self, kind: type[T], path: str, body: Any) -> T:
        return self._read(kind, self.send("PATCH", path, body=body))

    def delete(self, path: str) -> None:
        self.send("DELETE", path)

    def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        idempotency: str = "",
        **options: Any,
    ) -> httpx.Response:
        """The answer, read; raises the StokerError that the platform answered with, Away without an answer."""
        headers = {"Idempotency-Key": idempotency} if idempotency else {}
        request = self._http.build_request(
            method, path, params=_given(query), json=body, headers=headers, **options
        )
        tries = _TRIES if method in _SAFE or idempotency else 1
        response = self._tried(request, tries)
        if response.is_error:
            raise self._error(response)
        return response

    @contextmanager
    def stream(self, method: str, path: str, *, body: Any = None, **query: Any) -> Iterator[httpx.Response]:
        """The answer, to be read as it comes."""
        try:
            with self._http.stream(method, path, params=_given(query), json=body) as response:
                if response.is_error:
                    response.read()
                    raise self._error(response)
                yield response
        except httpx.TransportError as error:
            raise self._away(error) from None

    def _tried(self, request: httpx.Request, tries: int) -> httpx.Response:
        pause = _FIRST_PAUSE_S
        for left in range(tries - 1, -1, -1):
            try:
                response = self._http.send(request)
            except httpx.TransportError as error:
                if not left:
                    raise self._away(error) from None
            else:
                if response.status_code not in _AWAY or not left:
                    return response
            time.sleep(pause)
            pause *= 2
        raise AssertionError("unreachable")

    def _read(self, kind: type[T], response: httpx.Response) -> T:
        try:
            return read(kind, response.json(), what=f"the answer of {self.login.url}")
        except (ValueError, BadInput) as error:
            raise Away(f"{self.login.url} did not answer as a Stoker platform: {error}") from None

    def _away(self, error: httpx.TransportError) -> Away:
        reason = str(error) or type(error).__name__
        return Away(f"no answer from {self.login.url}: {reason}; start it with stoker up, or set STOKER_URL")

    def _error(self, response: httpx.Response) -> StokerError:
        if response.status_code == 401 and not self.login.api_key:
            return Denied(
                f"no key is known for {self.login.url}; run stoker login or set STOKER_API_KEY", known=False
            )
        return error_from(response.status_code, response.content, self.login.url)


def error_from(status: int, body: bytes, url: str) -> StokerError:
    """The exception that the platform raised, built again from its JSON."""
    try:
        told = read(dict[str, dict[str, Any]], httpx.Response(status, content=body).json())["error"]
        message, param, code = str(told["message"]), told.get("param"), str(told.get("code"))
    except (ValueError, KeyError, BadInput):
        return Away(f"{url} answered {status} and not as a Stoker platform; is the address right?")
    kind = kind_of(code) or _by_status(status)
    error = kind.__new__(kind)  # some take other arguments than their message
    StokerError.__init__(error, message, param=param)
    error.http_status = status
    return error


def _by_status(status: int) -> type[StokerError]:
    if status in (401, 403):
        return Denied
    if status == 404:
        return NotFound
    return BadInput if status < 500 else Away


def _given(query: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (query or {}).items() if value not in (None, "", (), [])}


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
