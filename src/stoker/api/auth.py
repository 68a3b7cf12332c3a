"""Who calls: the account behind a bearer key, or behind the console's session cookie."""

from __future__ import annotations

from collections.abc import MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer

from stoker.account import Account
from stoker.app import App
from stoker.errors import Denied

SESSION_COOKIE = "stoker_session"
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

_documented = HTTPBearer(auto_error=False, description="A key as `stoker keys create` prints it: sk-stk-...")


def account_of(app: App, scope: MutableMapping[str, Any]) -> Account:
    """The account that sent the ASGI request `scope`; raises Denied (401) when there is none.

    What it may do, each desk decides.
    """
    cookie = b""
    for name, value in scope["headers"]:
        if name == b"authorization":
            return app.accounts.authenticate(_bearer(value))
        if name == b"cookie":
            cookie = value
    token = _session_token(cookie)
    account = app.accounts.session(token) if token else None
    if account is None:
        raise Denied("no key was given; send the header Authorization: Bearer sk-stk-...", known=False)
    _check_origin(scope)
    return account


def platform(request: Request) -> App:
    """The App that this server shows."""
    app: App = request.app.state.platform
    return app


Platform = Annotated[App, Depends(platform)]


def caller(request: Request, app: Platform, _key: Annotated[object, Security(_documented)]) -> Account:
    """The calling account; raises Denied (401) when there is none."""
    return account_of(app, request.scope)


Caller = Annotated[Account, Depends(caller)]


def _bearer(value: bytes) -> str:
    scheme, _, secret = value.partition(b" ")
    if scheme.lower() != b"bearer" or not secret.strip():
        raise Denied("the Authorization header must be: Bearer sk-stk-...", known=False)
    return secret.strip().decode("latin-1")


def _session_token(cookie: bytes) -> str:
    if not cookie:
        return ""
    try:
        morsel = SimpleCookie(cookie.decode("latin-1")).get(SESSION_COOKIE)
    except CookieError:
        return ""
    return morsel.value if morsel else ""


def _check_origin(scope: MutableMapping[str, Any]) -> None:
    """A browser sends the cookie along whoever wrote the page, so a change must come from a page of ours."""
    if scope["method"] in _SAFE_METHODS:
        return
    headers = dict(scope["headers"])
    origin = headers.get(b"origin", b"").decode("latin-1")
    if urlsplit(origin).netloc != headers.get(b"host", b"").decode("latin-1"):
        raise Denied(f"a page of {origin or 'an unnamed origin'} may not act with the console's session")
