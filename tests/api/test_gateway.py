"""The gateway between a real client and real little engines."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from aiohttp import web

from stoker.account import Account, Role
from stoker.api.completion import Limits
from stoker.api.gateway import Gateway
from stoker.api.replicas import Timeouts
from stoker.api.usage import exposition
from stoker.endpoint import Replica, ReplicaState
from stoker.errors import Denied, NotFound
from tests.api.listening import engine, listening, until

ANN = Account("ak-ann", "ann", Role.USER, "speech", 0.0)
CHAT = "/v1/chat/completions"
HELLO = {"model": "support", "messages": [{"role": "user", "content": "hello"}]}


class Site:
    """A gateway with one known key and the replicas a test gives it."""

    def __init__(self, **options: Any) -> None:
        self.replicas: list[Replica] = []
        self.gateway = Gateway(self._identify, self._route, **options)

    def _identify(self, scope: Any) -> Account:
        if (b"authorization", b"Bearer sk-stk-ann") not in scope["headers"]:
            raise Denied("this key is not known", known=False)
        return ANN

    def _route(self, model: str, who: Account) -> Sequence[Replica]:
        if model.partition("@")[0] != "support":
            raise NotFound.named("model", model, ["support"])
        return list(self.replicas)

    def add(self, url: str, *, job: int = 1, version: int = 1, state: ReplicaState = ReplicaState.READY) -> None:
        self.replicas.append(Replica(job, version, state, url=url, secret=f"inner-{job}"))


@asynccontextmanager
async def open_site(site: Site) -> AsyncIterator[httpx.AsyncClient]:
    await site.gateway.open()
    async with listening(site.gateway) as url:
        key = {"Authorization": "Bearer sk-stk-ann"}
        async with httpx.AsyncClient(base_url=url, headers=key, timeout=20) as client:
            yield client
    await site.gateway.close()


def says(text: str, seen: list[Any] | None = None) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """An engine that answers `text`, streamed word by word when asked to."""

    async def answer(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if seen is not None:
            seen.append((request.headers.get("Authorization"), body))
        if not body.get("stream"):
            usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
            choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            return web.json_response({"id": "c1", "object": "chat.completion", "choices": [choice], "usage": usage})
        return await _streamed(request, text, with_usage=body.get("stream_options", {}).get("include_usage"))

    return answer


async def _streamed(request: web.Request, text: str, *, with_usage: bool) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for word in text.split():
        chunk = {"choices": [{"index": 0, "delta": {"content": word}}]}
        await response.write(f"data: {json.dumps(chunk)}\n\n".encode())
    if with_usage:
        tail = {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}
        await response.write(f"data: {json.dumps(tail)}\n\n".encode())
    await response.write(b"data: [DONE]\n\n")
    return response


def error_of(response: httpx.Response) -> dict[str, Any]:
    error: dict[str, Any] = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


async def test_answers_with_the_replicas_secret_and_everything_the_caller_sent() -> None:
    site = Site()
    seen: list[Any] = []
    async with engine(says("good day", seen)) as url, open_site(site) as client:
        site.add(url)
        response = await client.post(CHAT, json={**HELLO, "temperature": 0.2, "logit_bias": {"5": 1}})
    assert response.status_code == 200
    assert response.json()["choices"][0]["message"]["content"] == "good day"
    [(authorization, body)] = seen
    assert authorization == "Bearer inner-1"
    assert body == {**HELLO, "temperature": 0.2, "logit_bias": {"5": 1}}


async def test_counts_tokens_by_key() -> None:
    site = Site()
    async with engine(says("good day")) as url, open_site(site) as client:
        site.add(url)
        await client.post(CHAT, json=HELLO)
        await client.post(CHAT, json={**HELLO, "stream": True})
    [row] = site.gateway.meter.usage()
    assert (row.key, row.tenant, row.model) == ("ak-ann", "speech", "support")
    assert (row.requests, row.prompt_tokens, row.completion_tokens) == (2, 14, 6)
    assert site.gateway.meter.usage("vision") == []
    text = exposition(site.gateway.meter, site.gateway.in_flight, site.gateway.held)
    assert 'stoker_gateway_requests_total{tenant="speech",endpoint="support",code="200"} 2' in text
    assert 'stoker_gateway_duration_seconds_count{tenant="speech",endpoint="support"} 2' in text


@pytest.mark.parametrize("asked", [True, False])
async def test_the_usage_chunk_reaches_only_who_asked_for_it(*, asked: bool) -> None:
    site = Site()
    body = {**HELLO, "stream": True, "stream_options": {"include_usage": asked}}
    async with engine(says("a b c")) as url, open_site(site) as client:
        site.add(url)
        text = (await client.post(CHAT, json=body)).text
    assert text.count('"delta"') == 3
    assert text.endswith("data: [DONE]\n\n")
    assert ('"usage"' in text) is asked
    assert site.gateway.meter.usage()[0].completion_tokens == 3


async def test_streams_pieces_as_they_are_made() -> None:
    go_on = asyncio.Event()

    async def slowly(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b'data: {"choices":[{"delta":{"content":"first"}}]}\n\n')
        await go_on.wait()
        await response.write(b"data: [DONE]\n\n")
        return response

    site = Site()
    async with engine(slowly) as url, open_site(site) as client:
        site.add(url)
        async with client.stream("POST", CHAT, json={**HELLO, "stream": True}) as response:
            pieces = response.aiter_text()
            assert "first" in await anext(pieces)  # the engine has not ended yet
            go_on.set()
            assert "[DONE]" in "".join([piece async for piece in pieces])


async def test_a_caller_who_leaves_ends_the_engines_work() -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        try:
            while True:
                await response.write(b'data: {"choices":[{"delta":{"content":"and "}}]}\n\n')
                began.set()
                await asyncio.sleep(0.01)
        finally:
            ended.set()

    site = Site()
    async with engine(endless) as url, open_site(site) as client:
        site.add(url)
        async with client.stream("POST", CHAT, json={**HELLO, "stream": True}):
            await began.wait()
            assert site.gateway.in_flight == {1: 1}
        await asyncio.wait_for(ended.wait(), 10)
        await until(lambda: not site.gateway.in_flight)


async def test_a_caller_who_leaves_before_the_answer_ends_the_engines_work_too() -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def thinks_long(request: web.Request) -> web.StreamResponse:
        began.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()
        raise AssertionError

    site = Site()
    async with engine(thinks_long) as url, open_site(site) as client:
        site.add(url)
        asking = asyncio.create_task(client.post(CHAT, json=HELLO))
        await began.wait()
        asking.cancel()
        await asyncio.wait_for(ended.wait(), 10)
        await until(lambda: site.gateway.meter.requests)
    assert [status for _, status in site.gateway.meter.requests] == [499]


async def test_goes_to_the_replica_with_the_least_to_do() -> None:
    held: list[asyncio.Event] = []

    async def holds(request: web.Request) -> web.StreamResponse:
        held.append(asyncio.Event())
        await held[-1].wait()
        return web.json_response({"choices": [], "by": request.url.port})

    site = Site()
    async with engine(holds) as one, engine(holds) as two, open_site(site) as client:
        site.add(one, job=1)
        site.add(two, job=2)
        asking = [asyncio.create_task(client.post(CHAT, json=HELLO)) for _ in range(6)]
        await until(lambda: len(held) == 6)
        assert site.gateway.in_flight == {1: 3, 2: 3}
        for event in held:
            event.set()
        await asyncio.gather(*asking)
        assert not site.gateway.in_flight


async def test_another_replica_answers_for_one_that_does_not() -> None:
    async def hangs_up(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        raise ConnectionResetError

    async def is_loading(request: web.Request) -> web.StreamResponse:
        return web.json_response({"error": {"message": "Loading model", "code": 503}}, status=503)

    site = Site()
    async with (
        engine(hangs_up) as bad,
        engine(is_loading) as loading,
        engine(says("here")) as good,
        open_site(site) as client,
    ):
        site.add(bad, job=1)
        site.add("http://127.0.0.1:1", job=2)  # nobody listens
        site.add(loading, job=3)
        site.add(good, job=4)
        answers = [await client.post(CHAT, json={**HELLO, "stream": stream}) for stream in (False, True) * 3]
    assert [answer.status_code for answer in answers] == [200] * 6
    assert sum(site.gateway.meter.retries.values()) == 18


async def test_an_engine_that_hangs_up_after_each_stream_answers_them_all() -> None:
    """As llama.cpp's server does, though its headers say that the connection stays."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
        await writer.drain()
        writer.close()

    site = Site()
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server, open_site(site) as client:
        site.add("http://{}:{}".format(*server.sockets[0].getsockname()))
        for _ in range(5):
            asked = [client.post(CHAT, json={**HELLO, "stream": True}) for _ in range(8)]
            assert [answered.status_code for answered in await asyncio.gather(*asked)] == [200] * 8
    assert not site.gateway.meter.retries


async def test_a_version_can_be_asked_for_by_number() -> None:
    site, seen = Site(), list[Any]()
    async with engine(says("good day", seen)) as url, open_site(site) as client:
        site.add(url)
        assert (await client.post(CHAT, json={**HELLO, "model": "support@1"})).status_code == 200
    assert seen[0][1]["model"] == "support"  # by which the engine knows itself


async def test_an_answer_that_broke_off_is_not_begun_again() -> None:
    asked = 0

    async def breaks_off(request: web.Request) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b'data: {"choices":[{"delta":{"content":"half"}}]}\n\n')
        assert request.transport is not None
        request.transport.abort()
        return response

    site = Site()
    async with engine(breaks_off) as one, engine(breaks_off) as two, open_site(site) as client:
        site.add(one, job=1)
        site.add(two, job=2)
        text = (await client.post(CHAT, json={**HELLO, "stream": True})).text
    assert asked == 1
    assert text.count("half") == 1
    assert "broke off" in json.loads(text.rpartition("data: ")[2])["error"]["message"]


async def test_no_request_fails_while_versions_are_exchanged() -> None:
    """Old replicas drain: they are taken from the route at once, and end when their last answer is out."""
    site = Site()
    answered = {1: 0, 2: 0}

    def version(number: int) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def answer(request: web.Request) -> web.StreamResponse:
            await asyncio.sleep(0.005)
            answered[number] += 1
            return web.json_response({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}})

        return answer

    async def ask(client: httpx.AsyncClient, statuses: list[int]) -> None:
        for _ in range(20):
            statuses.append((await client.post(CHAT, json=HELLO)).status_code)

    statuses: list[int] = []
    async with engine(version(2)) as new, open_site(site) as client:
        async with engine(version(1)) as old:
            site.add(old, job=1, version=1)
            askers = [asyncio.create_task(ask(client, statuses)) for _ in range(8)]
            await until(lambda: answered[1] >= 20)
            site.replicas = []
            site.add(new, job=2, version=2)
            await until(lambda: not site.gateway.in_flight[1])
        await asyncio.gather(*askers)
    assert statuses == [200] * 160
    assert answered[1] >= 20
    assert answered[2] > 0


async def test_without_a_ready_replica_the_caller_is_told_to_come_again() -> None:
    site = Site()
    site.add("http://127.0.0.1:1", state=ReplicaState.STARTING)
    async with open_site(site) as client:
        response = await client.post(CHAT, json=HELLO)
        assert response.status_code == 503
        assert response.headers["retry-after"] == "2"
        assert error_of(response)["type"] == "server_error"
        site.replicas = []
        site.add("http://127.0.0.1:1")  # ready, it was thought, but nobody listens
        assert (await client.post(CHAT, json=HELLO)).status_code == 503


async def test_a_request_waits_for_the_replica_that_is_started_for_it() -> None:
    site = Site(patience=lambda _model: 20.0, limits=Limits(held=3))
    async with open_site(site) as client, engine(says("hello")) as url:

        async def streamed() -> str:
            async with client.stream("POST", CHAT, json={**HELLO, "stream": True}) as response:
                assert response.status_code == 200
                return "".join([line async for line in response.aiter_lines()])

        whole = [asyncio.create_task(client.post(CHAT, json=HELLO)) for _ in range(2)]
        stream = asyncio.create_task(streamed())
        await until(lambda: site.gateway.held["support"] == 3)
        text = exposition(site.gateway.meter, site.gateway.in_flight, site.gateway.held)
        assert 'stoker_gateway_held{endpoint="support"} 3' in text
        beyond = await client.post(CHAT, json=HELLO)
        assert (beyond.status_code, beyond.headers["retry-after"]) == (503, "2")
        assert "3 requests wait" in error_of(beyond)["message"]
        site.add(url)
        assert [(await one).status_code for one in whole] == [200, 200]
        assert "hello" in await stream
        assert not site.gateway.held


async def test_a_hold_is_not_taken_for_a_slow_first_token() -> None:
    """Lending would start further replicas because the first one had to be started."""
    site = Site(patience=lambda _model: 20.0)
    async with open_site(site) as client, engine(says("hello")) as url:
        asking = asyncio.create_task(client.post(CHAT, json={**HELLO, "stream": True}))
        await until(lambda: site.gateway.held["support"])
        site.add(url)
        assert (await asking).status_code == 200
        meter = site.gateway.meter
        (from_arrival,), (from_hold,) = meter.first_bytes.values(), meter.first_tokens.values()
        assert from_hold.total < from_arrival.total


async def test_who_waits_too_long_is_told_and_who_leaves_is_not_counted_any_more() -> None:
    site = Site(patience=lambda _model: 0.1)
    async with open_site(site) as client:
        response = await client.post(CHAT, json=HELLO)
        assert (response.status_code, response.headers["retry-after"]) == (503, "2")
        assert "has not started within 0.1 s" in error_of(response)["message"]
        site.gateway._patience = lambda _model: 20.0
        leaving = asyncio.create_task(client.post(CHAT, json=HELLO))
        await until(lambda: site.gateway.held["support"])
        leaving.cancel()
        await until(lambda: not site.gateway.held["support"])


async def test_a_silent_engine_is_given_up() -> None:
    async def silent(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(60)
        raise AssertionError

    site = Site(timeouts=Timeouts(silence=0.05))
    async with engine(silent) as url, open_site(site) as client:
        site.add(url)
        assert (await client.post(CHAT, json=HELLO)).status_code == 503


async def test_an_engines_refusal_comes_back_in_openais_form() -> None:
    async def refuses(request: web.Request) -> web.StreamResponse:
        error = {"code": 400, "message": "the prompt has 9000 tokens, the context 8192", "type": "exceed_context"}
        return web.json_response({"error": error}, status=400)

    site = Site()
    async with engine(refuses) as url, open_site(site) as client:
        site.add(url)
        response = await client.post(CHAT, json=HELLO)
    assert response.status_code == 400
    assert error_of(response)["message"] == "the prompt has 9000 tokens, the context 8192"
    assert error_of(response)["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": HELLO["messages"]}, "model"),
        ({"model": "support"}, "messages"),
        ({"model": "support", "messages": []}, "messages"),
        ({"model": "support", "messages": ["hello"]}, "messages[0]"),
        ({**HELLO, "stream": "yes"}, "stream"),
        ({**HELLO, "stream": True, "stream_options": 5}, "stream_options"),
        ({**HELLO, "max_tokens": 0}, "max_tokens"),
        ({**HELLO, "max_tokens": True}, "max_tokens"),
        ({**HELLO, "max_tokens": 10**9}, "max_tokens"),
        ({**HELLO, "n": 100}, "n"),
    ],
)
async def test_bad_fields_are_named(body: Any, param: str) -> None:
    async with open_site(Site()) as client:
        response = await client.post(CHAT, json=body)
    assert response.status_code == 400
    assert error_of(response)["param"] == param
    assert error_of(response)["code"] == "bad_input"


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"\xff", b'{"model": NaN}', b"[" * 200_000])
async def test_what_is_no_json_object_is_refused(raw: bytes) -> None:
    async with open_site(Site()) as client:
        response = await client.post(CHAT, content=raw)
    assert response.status_code == 400
    assert error_of(response)["code"] == "bad_input"


async def test_unknown_models_keys_and_methods() -> None:
    async with open_site(Site()) as client:
        unknown = await client.post(CHAT, json={**HELLO, "model": "suport"})
        odd = await client.post(CHAT, content=b'{"model": "\\ud800", "messages": [{"role": "user"}]}')
        stranger = await client.post(CHAT, json=HELLO, headers={"Authorization": "Bearer sk-other"})
        method = await client.get(CHAT)
    assert (unknown.status_code, error_of(unknown)["code"]) == (404, "model_not_found")
    assert "near names: support" in error_of(unknown)["message"]
    assert odd.status_code == 404
    assert (stranger.status_code, error_of(stranger)["code"]) == (401, "invalid_api_key")
    assert (method.status_code, method.headers["allow"]) == (405, "POST")


async def test_requests_over_the_limit_are_refused_with_and_without_a_length() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 100

    async with open_site(Site(limits=Limits(body=1000))) as client:
        told = await client.post(CHAT, content=b"x" * 2000)
        untold = await client.post(CHAT, content=pieces())
    assert (told.status_code, untold.status_code) == (413, 413)
    assert error_of(told)["code"] == "too_large"
