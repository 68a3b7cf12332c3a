"""Who may come into a notebook, and what of a request and an answer passes on.

Notebooks run foreign programs in the browser. They live at an origin of their own, which shares nothing with the
console but the host's cookies: those are taken out here, on the way in and on the way back (decision 0111).
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from stoker.errors import BadInput, Denied
from stoker.notebook import base_path

Scope = MutableMapping[str, Any]
Headers = Sequence[tuple[bytes, bytes]]

COOKIE = "stoker_notebook"
_PATH = re.compile(r"^/notebooks/([1-9][0-9]{0,17})(/|$)")
_THEIRS = "nb-"  # before the names of cookies that a notebook's server sets
_HOP = frozenset({
    b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te",
    b"trailer", b"transfer-encoding", b"upgrade", b"content-length", b"expect",
})  # fmt: skip
# On the way in: ours, or what the connection to the notebook says anew.
_NOT_IN = _HOP | {
    b"authorization", b"cookie", b"sec-websocket-key", b"sec-websocket-version", b"sec-websocket-extensions",
    b"sec-websocket-protocol", b"x-forwarded-for", b"x-forwarded-proto", b"forwarded",
}  # fmt: skip
# On the way back: what reaches beyond the notebook's own paths, to the host or to all of its ports.
_NOT_BACK = (_HOP - {b"content-length"}) | {
    b"set-cookie", b"clear-site-data", b"service-worker-allowed", b"strict-transport-security", b"alt-svc",
    b"server", b"access-control-allow-origin", b"access-control-allow-credentials",
}  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """A request for a notebook, read."""

    job: int
    method: str
    path: str  # as it was sent, still quoted
    query: str  # without our token
    headers: Mapping[bytes, bytes]
    token: str = ""  # that was shown, in whichever way
    by_cookie: bool = False
    in_query: bool = False
    key: str = ""  # a key of the platform that was shown instead
    cookies: Mapping[str, str] = field(default_factory=dict)  # the notebook's own

    @property
    def navigates(self) -> bool:
        """Whether a browser asks for a page to show."""
        mode = self.headers.get(b"sec-fetch-mode", b"")
        page = b"text/html" in self.headers.get(b"accept", b"")
        return self.method == "GET" and (mode == b"navigate" or (not mode and page))


def read(scope: Scope) -> Asked | None:
    """None when it is for no notebook."""
    found = _PATH.match(scope["path"])
    if not found:
        return None
    headers = dict(scope["headers"])
    query, in_query = _without_token(scope["query_string"].decode("latin-1"))
    scheme, _, shown = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    shown = shown.strip() if scheme.lower() in ("bearer", "token") else ""
    cookies = _cookies(headers.get(b"cookie", b""))
    by_key = shown.startswith("sk-stk-")
    cookie = cookies.get(COOKIE, "")
    return Asked(
        job=int(found.group(1)),
        method=scope.get("method", "GET"),
        path=scope["raw_path"].decode("latin-1") if scope.get("raw_path") else quote(scope["path"]),
        query=query,
        headers=headers,
        token=in_query or ("" if by_key else shown) or cookie,
        by_cookie=bool(cookie) and not in_query and not shown,
        in_query=bool(in_query),
        key=shown if by_key else "",
        cookies={name.removeprefix(_THEIRS): value for name, value in cookies.items() if name.startswith(_THEIRS)},
    )


def is_right(asked: Asked, token: str) -> bool:
    return hmac.compare_digest(asked.token.encode(), token.encode())


def check_source(asked: Asked, *, websocket: bool = False) -> None:
    """A browser sends the cookie along whoever wrote the page that asks: only the notebook's own pages may.

    Raises Denied. Links from elsewhere that open a page are welcome.
    """
    if not asked.by_cookie:
        return
    host = asked.headers.get(b"host", b"").decode("latin-1").lower()
    origin = asked.headers.get(b"origin", b"").decode("latin-1").lower()
    if websocket or asked.method not in ("GET", "HEAD"):
        if urlsplit(origin).netloc != host:
            raise Denied(f"a page of {origin or 'an unnamed origin'} may not use this notebook")
        return
    site = asked.headers.get(b"sec-fetch-site", b"none")
    if site not in (b"same-origin", b"none") and not asked.navigates:
        raise Denied("a page of another origin may not read from this notebook")
    if asked.headers.get(b"sec-fetch-dest", b"document") in (b"iframe", b"frame", b"embed", b"object") and (
        site not in (b"same-origin", b"none")
    ):
        raise Denied("a page of another origin may not show this notebook inside itself")


def cookie_for(asked: Asked, token: str, *, secure: bool) -> bytes:
    """Lets this browser in until the notebook ends; scripts cannot read it."""
    flags = "; Secure" if secure else ""
    return f"{COOKIE}={token}; Path={base_path(asked.job)}; HttpOnly; SameSite=Lax{flags}".encode()


def target(asked: Asked, address: str) -> str:
    return f"{address}{asked.path}{f'?{asked.query}' if asked.query else ''}"


def headers_in(asked: Asked, given: Headers, token: str) -> list[tuple[str, str]]:
    """What the notebook's server is told: the request's headers, its own cookies, and its token."""
    kept = [
        (name.decode("latin-1"), value.decode("latin-1")) for name, value in given if name.lower() not in _NOT_IN
    ]
    if asked.cookies:
        kept.append(("Cookie", "; ".join(f"{name}={value}" for name, value in asked.cookies.items())))
    return [*kept, ("Authorization", f"token {token}")]


def headers_back(given: Iterable[tuple[bytes, bytes]], job: int) -> list[tuple[bytes, bytes]]:
    """What the browser is told. The notebook's cookies stay below its own path, under names that are not ours."""
    back = []
    framed = False
    for name, value in given:
        lower = name.lower()
        if lower == b"set-cookie":
            back += _confined(value, job)
        elif lower not in _NOT_BACK:
            back.append((lower, value))
            framed = framed or lower == b"content-security-policy"
    if not framed:
        back.append((b"content-security-policy", b"frame-ancestors 'self'"))
    return [*back, (b"cross-origin-resource-policy", b"same-origin")]


def _confined(value: bytes, job: int) -> list[tuple[bytes, bytes]]:
    first, *attributes = value.decode("latin-1").split(";")
    name, equals, content = first.strip().partition("=")
    if not equals:
        return []
    kept = [part.strip() for part in attributes if part.strip().lower().partition("=")[0] in _COOKIE_ATTRIBUTES]
    parts = [f"{_THEIRS}{name}={content}", f"Path={base_path(job)}", "SameSite=Lax", *kept]
    return [(b"set-cookie", "; ".join(parts).encode("latin-1"))]


_COOKIE_ATTRIBUTES = frozenset({"expires", "max-age", "httponly", "secure"})


def _without_token(query: str) -> tuple[str, str]:
    """The query without a token, and the token."""
    if "token=" not in query:
        return query, ""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=1000)
    except ValueError:
        raise BadInput("the query has over 1,000 fields") from None
    token = next((value for name, value in pairs if name == "token"), "")
    return urlencode([pair for pair in pairs if pair[0] != "token"]), token


def _cookies(header: bytes) -> dict[str, str]:
    try:
        parsed = SimpleCookie(header.decode("latin-1"))
    except CookieError:
        return {}
    return {name: morsel.value for name, morsel in parsed.items()}
