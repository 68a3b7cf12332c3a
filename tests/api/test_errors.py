"""Bodies that cannot be read as what they should be: one line that a person understands."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.api.platform import Site


@pytest.mark.parametrize(
    ("body", "message", "param"),
    [
        ('{"command":', "the body is no JSON: Expecting value at character 11", None),
        ("[]", "body: must be an object", None),
        ('{"command": "true"}', "body.command: must be a list", "command"),
        ('{"command": ["true"], "nmae": "a"}', "body.nmae: there is no such field", "nmae"),
    ],
)
def test_a_wrong_body_is_told_in_plain_words(site: Site, body: str, message: str, param: str | None) -> None:
    with site.http() as http:
        refused: httpx.Response = http.post(
            "/api/v1/jobs", content=body, headers={"Content-Type": "application/json"}
        )
    error: dict[str, Any] = refused.json()["error"]
    assert refused.status_code == 400
    assert (error["message"], error["param"]) == (message, param)
