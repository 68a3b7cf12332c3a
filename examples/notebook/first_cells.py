#!/usr/bin/env python3
"""A story: a notebook on one GPU, from its first cell to the job it submits, and the GPU free again.

    stoker up                                     # in another terminal
    python examples/notebook/first_cells.py

What a person does in JupyterLab is done here over the same websocket, so that it can run in CI.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp

import stoker
from stoker.notebook import NotebookRequest

SUBMIT = """
import stoker
client = stoker.Client()                       # address and key are there already
[job] = client.jobs.submit(stoker.JobSpec(name="from-a-cell", command=("echo", "hello from a job")))
client.jobs.wait(job.id)
print(client.jobs.logs(job.id).decode().strip())
"""


async def run_cells(link: str, *cells: str) -> None:
    """Open the link as a browser does, start a kernel and run the cells, printing what they print."""
    base, _, token = link.partition("lab?token=")
    async with aiohttp.ClientSession(headers={"Authorization": f"token {token}"}) as session:
        async with session.post(base + "api/kernels") as answer:
            kernel = (await answer.json())["id"]
        async with session.ws_connect(base + f"api/kernels/{kernel}/channels") as channels:
            for code in cells:
                await _run(channels, code)


async def _run(channels: aiohttp.ClientWebSocketResponse, code: str) -> None:
    number = uuid4().hex
    header = {"msg_id": number, "msg_type": "execute_request", "username": "", "session": "s", "version": "5.3"}
    message: dict[str, Any] = {"header": header, "parent_header": {}, "metadata": {}, "content": {"code": code}}
    await channels.send_json({**message, "channel": "shell"})
    while True:
        told = await channels.receive_json()
        if told["parent_header"].get("msg_id") != number:
            continue
        if told["msg_type"] == "stream":
            print("  out:", told["content"]["text"].rstrip())
        elif told["msg_type"] == "error":
            raise SystemExit("\n".join(told["content"]["traceback"]))
        elif told["msg_type"] == "status" and told["content"]["execution_state"] == "idle":
            return


def main() -> int:
    client = stoker.Client()
    devices = sum(len(node.devices) for node in client.nodes())
    request = NotebookRequest(
        name="first-cells",
        resources=stoker.Resources(accelerators=min(1, devices)),
        idle=10.0,  # seconds; two hours unless told
        folder=str(Path.cwd()),
    )
    notebook = client.notebooks.start(request)
    print(f"notebook {notebook.job.id} is on its way")
    while not notebook.ready:
        if notebook.job.state.final:
            print(client.jobs.logs(notebook.job.id).decode(), file=sys.stderr)
            return 1
        time.sleep(0.2)
        notebook = client.notebooks.get(notebook.job.id)
    print("it is ready; two cells:")
    asyncio.run(run_cells(client.notebooks.link(notebook.job.id).url, "print(6 * 7)", SUBMIT))
    print("nobody uses it any more")
    (ended,) = client.jobs.wait(notebook.job.id, timeout=120)
    print(f"notebook {ended.id} {ended.state}: {ended.message}")
    return 0 if ended.state is stoker.JobState.SUCCEEDED else 1


if __name__ == "__main__":
    sys.exit(main())
