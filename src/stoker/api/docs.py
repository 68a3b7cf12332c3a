"""The OpenAPI page at /docs: Swagger UI from an installed package, so that it works where there is no outside."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse

from stoker.errors import NotFound

router = APIRouter(include_in_schema=False)

_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Stoker API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/swagger-ui.css">
<script src="/docs/swagger-ui-bundle.js" defer></script><script src="/docs/docs.js" defer></script></head>
<body data-openapi="/openapi.json"><div id="page"></div>
<noscript>The document itself is <a href="/openapi.json">/openapi.json</a>.</noscript></body>
</html>
"""
_TYPES = {"swagger-ui-bundle.js": "text/javascript", "docs.js": "text/javascript", "swagger-ui.css": "text/css"}


@router.get("/docs")
def page() -> HTMLResponse:
    return HTMLResponse(_PAGE)


@router.get("/docs/{name}")
def asset(name: str) -> Response:
    if name not in _TYPES:
        raise NotFound.named("file", name, _TYPES)
    headers = {"Cache-Control": "public, max-age=86400"}
    return Response(_asset(name), headers=headers, media_type=_TYPES[name])


@cache
def _asset(name: str) -> bytes:
    if name == "docs.js":
        return files("stoker.api").joinpath("static", name).read_bytes()
    # Found without importing the package, which would wire itself into the framework.
    spec = find_spec("fastapi_offline")
    if spec is None or spec.origin is None:
        raise NotFound("the API page's assets are not installed: pip install fastapi-offline")
    return (Path(spec.origin).parent / "static" / name).read_bytes()
