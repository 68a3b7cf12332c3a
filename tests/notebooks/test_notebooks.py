"""Real JupyterLabs on a real platform: the way in, what a kernel may do, and when they end."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import aiohttp
import pytest

from stoker.account import Role
from stoker.errors import Denied, NotFound
from stoker.job import JobSpec, JobState
from stoker.notebook import Notebook
from tests.api.platform import Site, open_site
from tests.notebooks.lab import browsing, kernel, run, send, start

pytest.importorskip("jupyterlab")
pytestmark = pytest.mark.slow

SHORT_S = 5.0  # idle limit of notebooks that shall end


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(tmp_path_factory.mktemp("home")) as opened:
        yield opened


@pytest.fixture(scope="module")
def zhang(site: Site) -> str:
    """The key of whoever owns the notebook that most tests look at."""
    return site.key("zhang")


@pytest.fixture(scope="module")
def notebook(site: Site, zhang: str, tmp_path_factory: pytest.TempPathFactory) -> Notebook:
    return start(site, tmp_path_factory.mktemp("work"), key=zhang, gpus=1)


async def test_a_cell_runs_and_submits_a_job(site: Site, zhang: str, notebook: Notebook) -> None:
    async with browsing(site, zhang, notebook) as (browser, base), kernel(browser, base) as channels:
        assert await run(channels, "print(6 * 7)") == "42\n"
        code = (
            "import stoker\n"
            "client = stoker.Client()\n"
            "[job] = client.jobs.submit(stoker.JobSpec(name='from-a-cell', command=('true',)))\n"
            "me = client.info().account\n"
            "print(job.id, me.name, me.role, me.tenant)"
        )
        number, *me = (await run(channels, code)).split()
    assert me == ["zhang", "user", "speech"]
    (job,) = site.client(zhang).jobs.wait(int(number), timeout=60)
    assert (job.state, job.owner, job.tenant) == (JobState.SUCCEEDED, "zhang", "speech")


def test_its_secrets_are_in_no_environment_argument_or_log(site: Site, zhang: str, notebook: Notebook) -> None:
    job = notebook.job.id
    token = site.client(zhang).notebooks.link(job).token
    key = (site.app.home.path / "jobs" / str(job) / "1" / "files" / "key").read_text()
    mark = f"STOKER_JOB_ID={job}\0".encode()
    seen = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            shown = (process / "environ").read_bytes()
            shown += (process / "cmdline").read_bytes() if mark in shown else b""
        except OSError:
            continue
        if mark in shown and str(site.app.home.path).encode() in shown:
            seen += 1
            assert token.encode() not in shown
            assert key.encode() not in shown
    assert seen
    log = site.client(zhang).jobs.logs(job)
    assert b"running at" in log
    assert token.encode() not in log
    assert token not in repr(site.client(zhang).jobs.get(job))


async def test_only_its_owner_gets_in(site: Site, zhang: str, notebook: Notebook) -> None:
    job = notebook.job.id
    base = site.client(zhang).notebooks.link(job).url.partition("lab?")[0]
    stranger, colleague = site.key("wang", tenant="vision"), site.key("li")
    with pytest.raises(NotFound):
        site.client(stranger).notebooks.link(job)
    with pytest.raises(NotFound):
        site.client(stranger).notebooks.stop(job)
    for other in (colleague, None):  # an admin's pages would share their origin with the owner's programs
        with pytest.raises(Denied, match="belongs to zhang"):
            site.client(other).notebooks.link(job)
    async with aiohttp.ClientSession() as browser:
        for key, status in ((stranger, 404), (colleague, 403), (zhang, 200)):
            async with browser.get(base + "api/status", headers={"Authorization": f"Bearer {key}"}) as answer:
                assert answer.status == status
        async with browser.get(base + "lab") as answer:
            assert answer.status == 403


async def test_a_terminal_answers(site: Site, zhang: str, notebook: Notebook) -> None:
    async with browsing(site, zhang, notebook) as (browser, base):
        async with browser.post(base + "api/terminals") as answer:
            name = (await answer.json())["name"]
        async with browser.ws_connect(base + f"terminals/websocket/{name}") as terminal:
            await terminal.send_json(["stdin", "echo a$((1+1))b\r"])
            said = ""
            while "a2b" not in said:
                said += str((await terminal.receive_json())[1:])
        async with browser.delete(base + f"api/terminals/{name}") as answer:
            assert answer.status == 204


async def test_an_open_tab_is_no_use_and_a_silent_cell_is(site: Site, tmp_path: Path) -> None:
    """Two notebooks beside each other: a tab asks and asks; a cell sleeps, and its browser has gone."""
    with_cell = start(site, tmp_path, idle=SHORT_S)
    async with browsing(site, "", with_cell) as (browser, base), kernel(browser, base) as channels:
        await send(channels, f"import time; time.sleep({3 * SHORT_S}); open('done', 'w').close()")
        await asyncio.sleep(0.5)
    jobs = site.client().jobs
    with_tab = start(site, tmp_path, idle=SHORT_S, gpus=1)
    async with browsing(site, "", with_tab) as (browser, base), kernel(browser, base):
        while not jobs.get(with_tab.job.id).state.final:
            for path in ("api/kernels", "api/sessions", "api/contents", "api/terminals"):  # as JupyterLab does
                async with browser.get(base + path):
                    pass
            await asyncio.sleep(0.3)
    ended = jobs.get(with_tab.job.id)
    assert ended.state is JobState.SUCCEEDED
    assert "nobody used it for" in ended.message
    (ended,) = jobs.wait(with_cell.job.id, timeout=120)
    assert (tmp_path / "done").exists()  # it was not ended before, three times as long as the limit
    assert "nobody used it" in ended.message
    assert site.app.accounts.lent()  # the other tests' notebook
    site.app.notebooks.sweep()
    assert f"nb-{ended.id}" not in site.app.accounts.lent()


async def test_a_widget_does_not_make_a_running_cell_look_idle(site: Site, tmp_path: Path) -> None:
    """A message that is answered beside the cell, on a subshell, reports busy and idle of its own."""
    notebook = start(site, tmp_path, idle=SHORT_S)
    async with browsing(site, "", notebook) as (browser, base), kernel(browser, base) as channels:
        subshell = await _make_subshell(channels)
        await send(channels, f"import time; time.sleep({3 * SHORT_S}); open('done', 'w').close()")
        await asyncio.sleep(0.5)
        number = uuid4().hex
        header = {"msg_id": number, "msg_type": "execute_request", "username": "", "session": "s"}
        header |= {"version": "5.5", "subshell_id": subshell}
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": {"code": "1", "silent": False}}
        await channels.send_json({**message, "channel": "shell"})
        while True:
            told = await channels.receive_json()
            state = told["content"].get("execution_state")
            if told["parent_header"].get("msg_id") == number and state == "idle":
                break
    site.client().jobs.wait(notebook.job.id, timeout=120)
    assert (tmp_path / "done").exists()


async def _make_subshell(channels: aiohttp.ClientWebSocketResponse) -> str:
    number = uuid4().hex
    header = {"msg_id": number, "msg_type": "create_subshell_request", "username": "", "session": "s"}
    message = {"parent_header": {}, "metadata": {}, "content": {}, "channel": "control"}
    await channels.send_json({"header": {**header, "version": "5.5"}, **message})
    while True:
        told = await channels.receive_json()
        if told["msg_type"] == "create_subshell_reply":
            return str(told["content"]["subshell_id"])


async def test_open_tabs_belong_to_the_folder(site: Site, zhang: str, tmp_path: Path) -> None:
    """Else a notebook would open with the files of another one, which lie elsewhere."""
    folders = [tmp_path / "speech", tmp_path / "vision"]
    for folder in folders:
        folder.mkdir()
    tabs = {"data": {"notebook:speech.ipynb": {}}, "metadata": {"id": "default"}}
    first, other, again = (start(site, folder, key=zhang) for folder in (*folders, folders[0]))
    async with (
        browsing(site, zhang, first) as (browser, base),
        browser.put(base + "lab/api/workspaces/default", json=tabs) as answer,
    ):
        assert answer.status == 204, await answer.text()
    for notebook, kept in ((other, False), (again, True)):
        async with (
            browsing(site, zhang, notebook) as (browser, base),
            browser.get(base + "lab/api/workspaces/default") as answer,
        ):
            assert ("notebook:speech.ipynb" in (await answer.json())["data"]) is kept
        site.client(zhang).notebooks.stop(notebook.job.id)
    site.client(zhang).notebooks.stop(first.job.id)


def test_the_example_tells_its_story(site: Site, tmp_path: Path) -> None:
    script = Path(__file__).parents[2] / "examples" / "notebook" / "first_cells.py"
    environment = {**os.environ, "STOKER_URL": site.url, "STOKER_API_KEY": site.admin_key}
    ran = subprocess.run(
        [sys.executable, script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200
    )
    assert ran.returncode == 0, ran.stderr
    assert "out: 42" in ran.stdout
    assert "out: hello from a job" in ran.stdout
    assert "nobody used it" in ran.stdout


def test_the_key_of_a_notebook_ends_with_it(site: Site, tmp_path: Path) -> None:
    notebook = start(site, tmp_path, key=site.key("chen"))
    job = notebook.job.id
    key = (site.app.home.path / "jobs" / str(job) / "1" / "files" / "key").read_text()
    inside = site.client(key)
    assert inside.info().account.role is Role.USER
    inside.jobs.submit(JobSpec(command=("true",)))
    assert f"nb-{job}" not in [account.id for account in site.client().keys.list()]
    account = next(one for one in site.client().keys.list() if one.name == "chen")
    site.client().keys.revoke(account.id)
    site.app.notebooks.sweep()
    (ended,) = site.client().jobs.wait(job, timeout=60)
    assert ended.state is JobState.CANCELLED
    site.app.notebooks.sweep()
    with pytest.raises(Denied):
        inside.info()
    assert not list((site.app.home.secrets / "notebooks").glob(f"{job}.*"))
