"""Who looks at a page: the session cookie, the check of where a post comes from, signing in and out."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote, urlsplit

from fastapi import APIRouter, Depends, Form
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from stoker.account import Account, Role
from stoker.clock import Clock
from stoker.console import render
from stoker.console.desks import Desks
from stoker.console.speed import Speeds
from stoker.console.texts import LANGUAGES, Say
from stoker.errors import BadInput, Denied, StokerError
from stoker.typed import in_words

COOKIE = "stoker_session"
_YEAR_S = 365 * 24 * 3600
_WEEK_S = 7 * 24 * 3600


@dataclass(frozen=True)
class Console:
    """What all pages share."""

    app: Desks
    clock: Clock
    speeds: Speeds


@dataclass(frozen=True)
class View:
    """One look at a page: by whom, in which language, when."""

    console: Console
    request: Request
    who: Account
    now: float

    @property
    def app(self) -> Desks:
        return self.console.app

    @property
    def say(self) -> Say:
        return Say(render.language(self.request))

    def page(self, template: str, **context: Any) -> Response:
        """The page; `who` and the time are known in every template."""
        can = {"may_act": self.who.role.covers(Role.USER), "may_admin": self.who.role.covers(Role.ADMIN)}
        known = {"who": self.who, "now": self.now, "changed": self.app.jobs.changed}
        return render.page(self.request, template, {**known, **can, **context})


class _NotSignedIn(Denied):
    def __init__(self) -> None:
        super().__init__("sign in first", known=False)


def console_of(request: Request) -> Console:
    console: Console = request.state.stoker_console
    return console


def view(request: Request) -> View:
    """Raises Denied when nobody is signed in, or when a post did not come from one of our own pages."""
    console = console_of(request)
    check_origin(request)
    token = request.cookies.get(COOKIE)
    who = console.app.accounts.session(token) if token else None
    if who is None:
        raise _NotSignedIn
    return View(console, request, who, console.clock.now())


Viewer = Annotated[View, Depends(view)]


def check_origin(request: Request) -> None:
    """A browser says where a post comes from; one that does not come from this console is refused.

    Behind a proxy that ends TLS the schemes differ, so hosts are compared. The cookie is SameSite=Strict besides.
    """
    if request.method in ("GET", "HEAD"):
        return
    origin = request.headers.get("origin", "")
    if urlsplit(origin).netloc != request.headers.get("host", ""):
        raise Denied(f"this form was posted from {origin or 'an unnamed origin'}; open the console and try again")


class PageRoute(APIRoute):
    """Answers Stoker's errors as pages, sends who is not signed in to do so, and sets the headers of every page."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                response = await answer(request)
            except _NotSignedIn:
                response = _to_login(request)
            except RequestValidationError as error:
                response = _error_page(request, BadInput(_first(error)))
            except StokerError as error:
                response = _error_page(request, error)
            for name, value in render.HEADERS.items():
                response.headers.setdefault(name, value)
            return response

        return handle


router = APIRouter(route_class=PageRoute)


@router.get("/login")
def login_page(request: Request, next: str = "/") -> Response:  # noqa: A002 - the query's name
    return render.page(request, "login.html", {"next": _inside(next), "wrong": ""})


@router.get("/session")
def session(request: Request) -> Response:
    """Whether somebody is signed in: what a page can ask without being led to the sign-in."""
    token = request.cookies.get(COOKIE)
    known = bool(token and console_of(request).app.accounts.session(token))
    return JSONResponse({"signed_in": known})


@router.post("/login")
def login(
    request: Request,
    key: Annotated[str, Form()],
    next: Annotated[str, Form()] = "/",  # noqa: A002 - the form field's name
) -> Response:
    check_origin(request)
    accounts = console_of(request).app.accounts
    try:
        account = accounts.authenticate(key.strip())
    except Denied as error:
        wrong = Say(render.language(request)).error(error)
        return render.page(request, "login.html", {"next": _inside(next), "wrong": wrong}, status=401)
    response = _go(_inside(next))
    secure = request.url.scheme == "https" or request.headers.get("x-forwarded-proto") == "https"
    response.set_cookie(
        COOKIE, accounts.open_session(account), httponly=True, samesite="strict", secure=secure, max_age=_WEEK_S
    )
    return response


@router.post("/logout")
def logout(request: Request) -> Response:
    check_origin(request)
    if token := request.cookies.get(COOKIE):
        console_of(request).app.accounts.close_session(token)
    response = _go("/login")
    response.delete_cookie(COOKIE)
    return response


@router.post("/preferences")
def preferences(
    request: Request,
    language: Annotated[str, Form()] = "",
    theme: Annotated[str, Form()] = "",
    next: Annotated[str, Form()] = "/",  # noqa: A002 - the form field's name
) -> Response:
    """Language and theme of this browser."""
    check_origin(request)
    response = _go(_inside(next))
    if language in LANGUAGES:
        response.set_cookie(render.LANGUAGE_COOKIE, language, max_age=_YEAR_S, samesite="lax")
    if theme in render.THEMES:
        response.set_cookie(render.THEME_COOKIE, theme, max_age=_YEAR_S, samesite="lax")
    return response


def _inside(target: str) -> str:
    """`target` if it is a path of ours, else the front page: a sign-in never leads elsewhere."""
    safe = target.startswith("/") and not target.startswith(("//", "/\\")) and "\n" not in target
    return target if safe else "/"


def _go(target: str) -> RedirectResponse:
    return RedirectResponse(target, status_code=303)


def _to_login(request: Request) -> Response:
    path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return _go("/login" + (f"?next={quote(path)}" if request.method == "GET" and path != "/" else ""))


def _error_page(request: Request, error: StokerError) -> Response:
    """Who is signed in stays known, so that the page keeps its navigation."""
    console = console_of(request)
    token = request.cookies.get(COOKIE)
    who = console.app.accounts.session(token) if token else None
    context = {"error": error, "who": who, "now": console.clock.now(), "may_admin": False}
    if who:
        context["may_admin"] = who.role.covers(Role.ADMIN)
    return render.page(request, "error.html", context, status=error.http_status)


def _first(error: RequestValidationError) -> str:
    wrong = error.errors()[0]
    return f"{'.'.join(str(part) for part in wrong['loc'][1:])}: {in_words(wrong)}"
