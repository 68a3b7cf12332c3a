"""Turns a template and what a page found out into a response; owns the Jinja environment and the headers."""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from starlette.requests import Request

from stoker import units
from stoker.console import figures
from stoker.console.texts import LANGUAGES, Say, choose

LANGUAGE_COOKIE = "stoker_language"
THEME_COOKIE = "stoker_theme"
THEMES = ("auto", "light", "dark")
_TYPES = {".js": "text/javascript", ".svg": "image/svg+xml", ".css": "text/css"}

# Nothing from elsewhere, nothing inline, no eval: what a page shows of users' text can never become a program.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Asset:
    content: bytes
    kind: str


@cache
def assets() -> Mapping[str, Asset]:
    """Every static file by its path below ``static/``; together they are small enough to be kept."""
    return dict(_assets(resources.files("stoker.console").joinpath("static"), ""))


@cache
def assets_version() -> str:
    """Part of every asset's address, so that browsers may keep assets for ever and still see a new release."""
    digest = hashlib.sha256()
    for name, asset in sorted(assets().items()):
        digest.update(name.encode() + b"\0" + asset.content)
    return digest.hexdigest()[:12]


def asset_url(name: str) -> str:
    if name not in assets():
        raise KeyError(name)
    return f"/static/{assets_version()}/{name}"


def language(request: Request) -> str:
    return choose(request.cookies.get(LANGUAGE_COOKIE), request.headers.get("accept-language", ""))


def page(request: Request, template: str, context: Mapping[str, Any], *, status: int = 200) -> HTMLResponse:
    """The page `template` in the reader's language and theme."""
    say = Say(language(request))
    theme = request.cookies.get(THEME_COOKIE, THEMES[0])
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    shared = {
        "t": say,
        "lang": say.language,
        "html_lang": {"zh": "zh-Hans"}.get(say.language, say.language),
        "languages": LANGUAGES,
        "theme": theme if theme in THEMES else THEMES[0],
        "themes": THEMES,
        "path": request.url.path,
        "here": here if request.method == "GET" else request.url.path,
        "who": None,
    }
    return HTMLResponse(_environment().get_template(template).render({**shared, **context}), status)


def _assets(folder: Traversable, prefix: str) -> list[tuple[str, Asset]]:
    found = []
    for item in folder.iterdir():
        if item.is_dir():
            found += _assets(item, f"{prefix}{item.name}/")
            continue
        suffix = "." + item.name.rpartition(".")[2]
        kind = _TYPES.get(suffix) or mimetypes.guess_type(item.name)[0] or "application/octet-stream"
        found.append((prefix + item.name, Asset(item.read_bytes(), kind)))
    return found


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("stoker.console", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        duration=_duration,
        ago=_ago,
        said=_said,
        moment=figures.moment,
        number=figures.number,
        percent=figures.percent,
        quantity=figures.quantity,
        part_of=figures.part_of,
        bytes=units.format_bytes,
        elapsed=units.format_clock,
    )
    environment.globals.update(asset=asset_url)
    return environment


@pass_context
def _duration(context: Context, seconds: float | None) -> str:
    return figures.duration(seconds, context["lang"])


@pass_context
def _said(context: Context, message: object) -> str:
    """A message of the platform's, which it keeps in English, in the reader's language."""
    return str(context["t"].error(message))


@pass_context
def _ago(context: Context, at: float | None) -> str:
    """``5 min ago``, ``3 h ago``, ``2 d ago``: one grain, so that a refresh rarely changes it."""
    if at is None:
        return "–"
    seconds = max(0.0, context["now"] - at)
    if seconds < 60:
        return str(context["t"]("time.just_now"))
    grain = next(grain for grain in (86400, 3600, 60) if seconds >= grain)
    return str(context["t"]("time.ago", span=figures.duration(seconds // grain * grain, context["lang"])))
