"""What tests do with a notebook: start it, follow its link, run cells."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp

from stoker.job import Resources
from stoker.notebook import Notebook, NotebookRequest
from tests.api.platform import Site


def start(
    site: Site, folder: Path, *, idle: float = 600.0, key: str = "", gpus: int = 0, engine: str = ""
) -> Notebook:
    """A notebook that is ready."""
    request = NotebookRequest(folder=str(folder), idle=idle, resources=Resources(accelerators=gpus), engine=engine)
    client = site.client(key or None)
    notebook = client.notebooks.start(request)
    while not notebook.ready:
        assert not notebook.job.state.final, client.jobs.logs(notebook.job.id).decode()
        time.sleep(0.1)
        notebook = client.notebooks.get(notebook.job.id)
    return notebook


@asynccontextmanager
async def browsing(site: Site, key: str, notebook: Notebook) -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
    """A browser without a screen that has followed the link; the address below which the notebook lives."""
    link = site.client(key or None).notebooks.link(notebook.job.id).url
    base = link.partition("lab?")[0]
    origin = base.partition("/notebooks/")[0]
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar, headers={"Origin": origin}) as browser:
        async with browser.get(link, headers={"Accept": "text/html"}) as page:
            assert page.status == 200
            assert "JupyterLab" in await page.text()
        yield browser, base


@asynccontextmanager
async def kernel(browser: aiohttp.ClientSession, base: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    async with browser.post(base + "api/kernels") as answer:
        found = (await answer.json())["id"]
    async with browser.ws_connect(base + f"api/kernels/{found}/channels", max_msg_size=0) as channels:
        yield channels


async def send(channels: aiohttp.ClientWebSocketResponse, code: str) -> str:
    """Ask the kernel to run `code`; the id of the request."""
    number = uuid4().hex
    header = {"msg_id": number, "msg_type": "execute_request", "username": "", "session": "s", "version": "5.3"}
    message = {"header": header, "parent_header": {}, "metadata": {}, "content": {"code": code, "silent": False}}
    await channels.send_json({**message, "channel": "shell"})
    return number


async def run(channels: aiohttp.ClientWebSocketResponse, code: str) -> str:
    """What the cell printed, or how it failed."""
    number, printed = await send(channels, code), ""
    while True:
        told = await channels.receive_json()
        if told["parent_header"].get("msg_id") != number:
            continue
        content: dict[str, Any] = told["content"]
        printed += content.get("text", "") if told["msg_type"] == "stream" else ""
        if told["msg_type"] == "error":
            return printed + "\n".join(content["traceback"])
        if told["msg_type"] == "status" and content["execution_state"] == "idle":
            return printed
