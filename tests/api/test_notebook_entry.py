"""What of a request passes on to a notebook, what of its answers comes back, and who is turned away."""

from __future__ import annotations

from typing import Any

import pytest

from stoker.api import notebook_entry as entry
from stoker.errors import Denied


def asked(path: str = "/notebooks/7/api/kernels", query: str = "", method: str = "GET", **headers: str) -> Any:
    given = [(b"host", b"box:8701")]
    given += [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"path": path, "raw_path": path.encode(), "query_string": query.encode(), "method": method}
    found = entry.read({**scope, "headers": given})
    assert found is not None
    return found


def test_the_token_comes_by_query_header_or_cookie_and_goes_no_further() -> None:
    by_query = asked(query="a=1&token=T&b=x%20y")
    assert (by_query.token, by_query.query, by_query.by_cookie) == ("T", "a=1&b=x+y", False)
    assert asked(authorization="token T").token == asked(authorization="Bearer T").token == "T"
    by_cookie = asked(cookie="stoker_session=S; stoker_notebook=T; nb-_xsrf=X; grafana=G")
    assert (by_cookie.token, by_cookie.by_cookie) == ("T", True)
    given = [(b"cookie", b"all"), (b"authorization", b"Bearer sk-stk-a"), (b"x-mine", b"1"), (b"host", b"box:8701")]
    passed = entry.headers_in(by_cookie, given, "T")
    assert passed == [("x-mine", "1"), ("host", "box:8701"), ("Cookie", "_xsrf=X"), ("Authorization", "token T")]


def test_a_key_of_the_platform_is_no_token() -> None:
    found = asked(authorization="Bearer sk-stk-abc")
    assert (found.key, found.token) == ("sk-stk-abc", "")


@pytest.mark.parametrize("path", ["/", "/notebooks/", "/notebooks/x/", "/notebooks/0/", "/notebooks/7x", "/jobs/7"])
def test_other_addresses_are_no_notebook(path: str) -> None:
    assert entry.read({"path": path, "query_string": b"", "headers": []}) is None


def test_cookies_of_a_notebook_stay_below_its_path_under_names_of_their_own() -> None:
    back = entry.headers_back(
        [
            (b"Set-Cookie", b"stoker_session=evil; Domain=box; Path=/; HttpOnly; Max-Age=60"),
            (b"Clear-Site-Data", b'"cookies"'),
            (b"Service-Worker-Allowed", b"/"),
            (b"Content-Type", b"text/html"),
        ],
        7,
    )
    assert (
        b"set-cookie",
        b"nb-stoker_session=evil; Path=/notebooks/7/; SameSite=Lax; HttpOnly; Max-Age=60",
    ) in back
    assert {name for name, _ in back} == {
        b"set-cookie", b"content-type", b"content-security-policy", b"cross-origin-resource-policy",
    }  # fmt: skip


COOKIE = "stoker_notebook=T"


@pytest.mark.parametrize(
    ("request_", "websocket"),
    [
        (
            asked(method="POST", cookie=COOKIE, origin="http://box:8700"),
            False,
        ),  # the console's port is another origin
        (asked(method="POST", cookie=COOKIE), False),
        (asked(method="DELETE", cookie=COOKIE, origin="null"), False),
        (asked(cookie=COOKIE, sec_fetch_site="same-site", sec_fetch_mode="no-cors"), False),
        (
            asked(cookie=COOKIE, sec_fetch_site="cross-site", sec_fetch_mode="navigate", sec_fetch_dest="iframe"),
            False,
        ),
        (asked(cookie=COOKIE, origin="http://evil.example"), True),
        (asked(cookie=COOKIE), True),
    ],
)
def test_pages_of_other_origins_cannot_use_the_cookie(request_: Any, websocket: bool) -> None:
    with pytest.raises(Denied):
        entry.check_source(request_, websocket=websocket)


@pytest.mark.parametrize(
    ("request_", "websocket"),
    [
        (asked(method="POST", cookie=COOKIE, origin="http://box:8701"), False),
        (asked(method="POST", authorization="token T"), False),  # a program, which no foreign page can be
        (
            asked(cookie=COOKIE, sec_fetch_site="cross-site", sec_fetch_mode="navigate", sec_fetch_dest="document"),
            False,
        ),
        (asked(cookie=COOKIE, sec_fetch_site="same-origin", sec_fetch_mode="cors"), False),
        (asked(cookie=COOKIE, origin="http://box:8701"), True),
    ],
)
def test_its_own_pages_links_and_programs_may(request_: Any, websocket: bool) -> None:
    entry.check_source(request_, websocket=websocket)
