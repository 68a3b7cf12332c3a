"""The page about the API names every route there is, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from tests.api.platform import Site

PAGE = Path(__file__).parents[2] / "docs" / "api.md"


def test_every_route_is_in_the_docs(site: Site) -> None:
    with site.http("") as http:
        document = http.get("/openapi.json").json()
    served = {f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item}
    aliases = {route for route in served if " /api/v1/files" in route}
    told = set(re.findall(r"^\| `((?:GET|POST|PUT|PATCH|DELETE) /\S+)` \|", PAGE.read_text(), re.MULTILINE))
    assert told == served - aliases
    assert {route.replace("/v1/", "/api/v1/") for route in told if " /v1/files" in route} == aliases
