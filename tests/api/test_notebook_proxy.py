"""The way to a notebook, with a server of the test's own behind it: what passes, how it ends, what is held back."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import pytest
import uvicorn
from aiohttp import WSMsgType, web

from stoker.account import Account, Role
from stoker.api.notebook_proxy import NotebookProxy
from stoker.control.notebooks import Door
from stoker.errors import Denied, NotFound
from stoker.job import Job, JobKind, JobSpec, JobState
from stoker.notebook import Site
from tests.api.listening import until

TOKEN = "t0ken"
HEADERS = {"Authorization": f"token {TOKEN}"}
PIECE = b"x" * 65536


def job(state: JobState = JobState.RUNNING, message: str = "") -> Job:
    spec = JobSpec(command=("true",), kind=JobKind.NOTEBOOK)
    return Job(7, spec, "speech", "zhang", state, submitted_at=0.0, message=message)


@dataclass
class Desk:
    """One notebook, number 7."""

    address: str
    site: Site = field(default_factory=Site)
    job: Job = field(default_factory=job)
    asked: int = 0

    def door(self, job_id: int) -> Door:
        self.asked += 1
        if job_id != 7:
            raise NotFound("none")
        return Door(self.job, TOKEN, self.address)

    def check_may_open(self, job: Job, who: Account) -> None:
        if who.tenant != job.tenant:
            raise NotFound("none")
        if who.name != job.owner:
            raise Denied("not yours")


def authenticate(secret: str) -> Account:
    names = {
        "sk-stk-zhang": ("zhang", "speech"),
        "sk-stk-li": ("li", "speech"),
        "sk-stk-vision": ("zhang", "vision"),
    }
    if secret not in names:
        raise Denied("unknown", known=False)
    name, tenant = names[secret]
    return Account("ak", name, Role.USER, tenant, 0.0)


class Behind:
    """A notebook's server, as far as the tests need one."""

    def __init__(self) -> None:
        self.seen: list[web.BaseRequest] = []
        self.closed_with: int | None = None
        self.sent = 0
        self.address = ""

    async def whatever(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request)
        action = request.match_info["tail"]
        if action == "upload":
            digest, size = hashlib.sha256(), 0
            async for piece in request.content.iter_any():
                digest.update(piece)
                size += len(piece)
            return web.json_response({"sha256": digest.hexdigest(), "size": size})
        if action == "endless":
            return await self._endless(request)
        if action == "channels":
            return await self._messages(request)
        return web.Response(text="hello", headers={"Set-Cookie": "_xsrf=2; Path=/"})

    async def _endless(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(PIECE)
            self.sent += len(PIECE)

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(protocols=["v1.kernel.websocket.jupyter.org"], max_msg_size=0)
        await socket.prepare(request)
        async for message in socket:
            if message.type is WSMsgType.BINARY:
                await socket.send_bytes(message.data[::-1])
            elif message.data == "flood":
                while True:
                    await socket.send_bytes(PIECE)
                    self.sent += len(PIECE)
            elif message.data == "bye":
                await socket.close(code=4001, message=b"kernel died")
            else:
                await socket.send_str(message.data.upper())
        self.closed_with = socket.close_code
        return socket


@asynccontextmanager
async def behind() -> AsyncIterator[Behind]:
    server = Behind()
    application = web.Application(client_max_size=0)
    application.router.add_route("*", "/notebooks/7/{tail:.*}", server.whatever)
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()


@dataclass
class Way:
    url: str
    desk: Desk
    behind: Behind
    http: aiohttp.ClientSession


@pytest.fixture
async def way() -> AsyncIterator[Way]:
    async with behind() as server:
        desk = Desk(server.address)
        proxy = NotebookProxy(desk, authenticate)
        await proxy.open()
        config = uvicorn.Config(proxy, port=0, ws="websockets-sansio", ws_per_message_deflate=False, lifespan="off",
                                log_config=None)  # fmt: skip
        uvicorn_server = uvicorn.Server(config)
        serving = asyncio.create_task(uvicorn_server.serve())
        await until(lambda: uvicorn_server.started)
        port = uvicorn_server.servers[0].sockets[0].getsockname()[1]
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
            yield Way(f"http://127.0.0.1:{port}/notebooks/7/", desk, server, http)
        uvicorn_server.should_exit = True
        await serving
        await proxy.close()


async def test_a_link_becomes_a_cookie_that_lets_this_browser_in(way: Way) -> None:
    page = {"Accept": "text/html"}
    async with way.http.get(way.url + f"lab?token={TOKEN}", headers=page) as answer:
        assert (answer.status, await answer.text()) == (200, "hello")
        assert "token" not in str(answer.url)
    (seen,) = way.behind.seen
    assert seen.headers["Authorization"] == f"token {TOKEN}"
    assert "stoker_notebook" not in seen.headers.get("Cookie", "")
    async with way.http.get(way.url + "again") as answer:
        assert answer.status == 200
    assert way.behind.seen[-1].headers["Cookie"] == "_xsrf=2"  # its own, under its own name again


async def test_without_token_nothing_is_told(way: Way) -> None:
    async with way.http.get(way.url + "lab") as answer:
        assert answer.status == 403
    assert not way.behind.seen
    async with way.http.get(way.url + "lab?token=wrong") as wrong:
        told = await wrong.text()
    async with way.http.get(way.url.replace("/7/", "/8/") + "lab?token=wrong") as nothing:
        assert (nothing.status, await nothing.text()) == (403, told)


@pytest.mark.parametrize(("key", "status"), [("zhang", 200), ("li", 403), ("vision", 404), ("nobody", 401)])
async def test_keys_of_the_platform_open_ones_own_notebooks(way: Way, key: str, status: int) -> None:
    async with way.http.get(way.url, headers={"Authorization": f"Bearer sk-stk-{key}"}) as answer:
        assert answer.status == status
    assert [seen.headers["Authorization"] for seen in way.behind.seen] == [f"token {TOKEN}"] * (status == 200)


async def test_large_uploads_pass_in_pieces(way: Way) -> None:
    async def body() -> AsyncIterator[bytes]:
        for _ in range(512):
            yield PIECE

    async with way.http.put(way.url + "upload", data=body(), headers=HEADERS) as answer:
        told = await answer.json()
    assert told == {"size": 512 * 65536, "sha256": hashlib.sha256(PIECE * 512).hexdigest()}


async def test_a_slow_reader_holds_the_sender_back_and_one_that_leaves_ends_it(way: Way) -> None:
    async with way.http.get(way.url + "endless", headers=HEADERS) as answer:
        await answer.content.readexactly(1)
        await asyncio.sleep(0.5)
        first = way.behind.sent
        await asyncio.sleep(0.5)
        assert way.behind.sent == first  # every buffer on the way is full
        assert first < 64 << 20
        answer.close()
    way.behind.sent = 0
    await asyncio.sleep(0.2)
    assert way.behind.sent < 64 << 20


async def test_messages_pass_both_ways_with_their_kind_and_protocol(way: Way) -> None:
    protocols = ("v1.kernel.websocket.jupyter.org",)
    async with way.http.ws_connect(
        way.url + "channels", headers=HEADERS, protocols=protocols, max_msg_size=0
    ) as ws:
        assert ws.protocol == protocols[0]
        await ws.send_str("text")
        assert (await ws.receive()).data == "TEXT"
        await ws.send_bytes(bytes(range(256)) * 8192)  # 2 MiB
        assert (await ws.receive()).data == (bytes(range(256)) * 8192)[::-1]
        await ws.close(code=4002)
    await until(lambda: way.behind.closed_with == 4002)


async def test_a_close_code_reaches_the_browser(way: Way) -> None:
    async with way.http.ws_connect(way.url + "channels", headers=HEADERS) as ws:
        await ws.send_str("bye")
        closing = await ws.receive()
        assert (closing.data, closing.extra) == (4001, "kernel died")


async def test_a_flood_of_messages_waits_for_its_reader(way: Way) -> None:
    async with way.http.ws_connect(way.url + "channels", headers=HEADERS) as ws:
        await ws.send_str("flood")
        await ws.receive()
        await asyncio.sleep(0.5)
        first = way.behind.sent
        await asyncio.sleep(0.5)
        assert way.behind.sent == first
        assert first < 64 << 20


async def test_foreign_pages_cannot_open_its_websocket(way: Way) -> None:
    headers = {"Cookie": f"stoker_notebook={TOKEN}", "Origin": "http://127.0.0.1:8700"}
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await way.http.ws_connect(way.url + "channels", headers=headers)
    assert caught.value.status == 403


async def test_its_end_is_told_on_a_page(way: Way) -> None:
    way.desk.job = job(JobState.SUCCEEDED, "nobody used it for 2 h; its devices are free")
    way.desk.address = ""
    async with way.http.get(way.url, headers={**HEADERS, "Accept": "text/html"}) as answer:
        assert answer.status == 410
        assert "nobody used it for 2 h" in await answer.text()
    chinese = {**HEADERS, "Accept": "text/html", "Accept-Language": "zh-CN"}
    async with way.http.get(way.url, headers=chinese) as answer:
        assert "该笔记本已结束" in await answer.text()
    async with way.http.get(way.url + "api/kernels", headers=HEADERS) as answer:
        assert (answer.status, answer.content_type) == (410, "application/json")
        assert "has ended" in (await answer.json())["message"]


async def test_one_that_starts_is_waited_for_and_one_that_is_silent_is_told(way: Way) -> None:
    address, way.desk.address = way.desk.address, ""
    async with way.http.get(way.url, headers={**HEADERS, "Accept": "text/html"}) as answer:
        assert answer.status == 503
        assert 'http-equiv="refresh"' in await answer.text()
    way.desk.address = "http://127.0.0.1:9"
    await asyncio.sleep(1.1)  # longer than an answer of the desk is believed
    async with way.http.get(way.url, headers=HEADERS) as answer:
        assert answer.status == 503
    way.desk.address = address
    async with way.http.get(way.url, headers=HEADERS) as answer:
        assert answer.status == 200  # looked at anew at once


async def test_with_names_of_their_own_only_that_name_answers(way: Way) -> None:
    way.desk.site = Site("http://*.box.example:8701")
    async with way.http.get(way.url, headers=HEADERS) as answer:
        assert answer.status == 404
    async with way.http.get(way.url, headers={**HEADERS, "Host": "notebook-7.box.example:8701"}) as answer:
        assert answer.status == 200
