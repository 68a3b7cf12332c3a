"""What is repeated and what is not, on answers written by hand."""

from __future__ import annotations

import json
from collections.abc import Callable

import httpx
import pytest

from stoker.client import connection
from stoker.client.config import Login
from stoker.client.connection import Connection, error_from
from stoker.client.events import pieces
from stoker.errors import Away, BadInput, Conflict, Denied, HomeBusy, MissingExtra, NotFound, StokerError, kind_of

Answer = Callable[[httpx.Request], httpx.Response]


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_FIRST_PAUSE_S", 0.0)


def connected(answer: Answer, key: str = "sk-stk-x") -> Connection:
    return Connection(Login("http://stoker.example", key), transport=httpx.MockTransport(answer))


class Flaky:
    """Fails so many times, then answers."""

    def __init__(self, failures: int, how: Exception | int) -> None:
        self.failures = failures
        self.how = how
        self.seen: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        if len(self.seen) > self.failures:
            return httpx.Response(200, json=[1])
        if isinstance(self.how, int):
            return httpx.Response(self.how, json=told("try again", "away"))
        raise self.how


def told(message: str, code: str, param: str | None = None) -> dict[str, object]:
    return {"error": {"message": message, "type": "x", "param": param, "code": code}}


@pytest.mark.parametrize("how", [httpx.ConnectError("refused"), httpx.ReadError("reset"), 503])
def test_reads_are_repeated(how: Exception | int) -> None:
    flaky = Flaky(3, how)
    assert connected(flaky).get(list[int], "/x") == [1]
    assert len(flaky.seen) == 4


def test_a_post_with_an_idempotency_key_is_repeated_with_the_same_key() -> None:
    flaky = Flaky(2, httpx.ReadTimeout("slow"))
    assert connected(flaky).post(list[int], "/x", {}, idempotency="k") == [1]
    assert [request.headers["idempotency-key"] for request in flaky.seen] == ["k"] * 3


def test_a_post_without_one_is_sent_once() -> None:
    flaky = Flaky(1, httpx.ReadTimeout("slow"))
    with pytest.raises(Away, match="slow"):
        connected(flaky).post(list[int], "/x", {})
    assert len(flaky.seen) == 1


def test_giving_up_tells_what_to_do() -> None:
    with pytest.raises(Away, match="stoker up") as away:
        connected(Flaky(99, httpx.ConnectError("refused"))).get(list[int], "/x")
    assert away.value.exit_code == 3


def test_what_is_wrong_is_not_repeated() -> None:
    flaky = Flaky(99, 400)
    with pytest.raises(Away, match="try again"):  # the code says which error it was, whatever the status
        connected(flaky).get(list[int], "/x")
    assert len(flaky.seen) == 1


@pytest.mark.parametrize(
    ("code", "kind"),
    [("bad_input", BadInput), ("home_busy", HomeBusy), ("missing_extra", MissingExtra), ("denied", Denied)],
)
def test_every_error_is_built_again(code: str, kind: type[StokerError]) -> None:
    error = error_from(409, json.dumps(told("no good", code, "field")).encode(), "u")
    assert type(error) is kind
    assert (str(error), error.param, error.http_status) == ("no good", "field", 409)


def test_unknown_codes_go_by_status() -> None:
    assert kind_of("model_not_found") is None
    kinds = {
        status: type(error_from(status, json.dumps(told("m", "new_word")).encode(), "u")) for status in (401, 404)
    }
    assert kinds == {401: Denied, 404: NotFound}
    assert not isinstance(error_from(429, json.dumps(told("m", "new_word")).encode(), "u"), Conflict)


@pytest.mark.parametrize("body", [b"<html>proxy</html>", b"", b"[]", b'{"error": "x"}', b'{"error": {}}'])
def test_other_servers_are_recognised(body: bytes) -> None:
    error = error_from(502, body, "http://stoker.example")
    assert isinstance(error, Away)
    assert "http://stoker.example answered 502" in str(error)


def test_a_good_answer_of_another_server_is_recognised_too() -> None:
    with pytest.raises(Away, match="did not answer as a Stoker platform"):
        connected(lambda _: httpx.Response(200, text="<html>")).get(list[int], "/x")
    with pytest.raises(Away, match="did not answer as a Stoker platform"):
        connected(lambda _: httpx.Response(200, json={"a": 1})).get(list[int], "/x")


def test_without_a_key_one_is_asked_for() -> None:
    refusing = connected(lambda _: httpx.Response(401, json=told("no key was given", "invalid_api_key")), key="")
    with pytest.raises(Denied, match="stoker login"):
        refusing.get(list[int], "/x")


def test_pieces_of_a_stream_and_the_error_that_ends_it() -> None:
    lines = ['data: {"choices":[{"delta":{"content":"a"}}]}', "", ": comment", 'data: {"choices":[{"delta":{}}]}']
    assert "".join(pieces([*lines, "data: [DONE]", "data: never read"], "u")) == "a"
    with pytest.raises(StokerError, match="broke off"):
        list(pieces([*lines, f"data: {json.dumps(told('it broke off', 'broken'))}"], "u"))
