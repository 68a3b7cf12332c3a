"""The platform killed and back: the notebook runs on, its link and its kernel's key stay good."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

import stoker
from stoker.notebook import NotebookRequest
from tests.labs.daemons import free_ports

pytest.importorskip("jupyterlab")
pytestmark = pytest.mark.slow


@contextmanager
def up(folder: Path, port: int, notebooks: int) -> Iterator[subprocess.Popen[bytes]]:
    """``stoker up`` on fixed ports, killed at the end."""
    command = [sys.executable, "-m", "stoker", "up", "--home", str(folder / "home"), "--port", str(port)]
    environment = {**os.environ, "XDG_CONFIG_HOME": str(folder), "LANG": "C"}
    with (folder / "log").open("a") as log:
        process = subprocess.Popen(
            [*command, "--notebooks-port", str(notebooks)], env=environment, stdout=log, stderr=log
        )
    try:
        while not _answers(port):
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.1)
        yield process
    finally:
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/api/v1/health", trust_env=False).is_success
    except httpx.TransportError:
        return False


def test_a_link_outlives_the_platform(tmp_path: Path) -> None:
    port, notebooks = free_ports(2)
    url = f"http://127.0.0.1:{port}"
    with up(tmp_path, port, notebooks):
        found = re.search(r"sk-stk-\S+", (tmp_path / "log").read_text())
        assert found
        with stoker.Client(url, found.group()) as client:
            notebook = client.notebooks.start(NotebookRequest(folder=str(tmp_path)))
            while not notebook.ready:
                time.sleep(0.1)
                notebook = client.notebooks.get(notebook.job.id)
            link = client.notebooks.link(notebook.job.id).url
    (key,) = (tmp_path / "home" / "jobs").glob("*/1/files/key")
    secret = key.read_text()
    with up(tmp_path, port, notebooks), stoker.Client(url, found.group()) as client:
        page = httpx.get(link, headers={"Accept": "text/html"}, follow_redirects=True, trust_env=False)
        assert page.is_success
        assert "JupyterLab" in page.text
        assert client.notebooks.link(notebook.job.id).url == link
        with stoker.Client(url, secret) as inside:
            assert inside.info().account.role is stoker.Role.USER
        assert httpx.get(f"http://127.0.0.1:{notebooks}/api/v1/health", trust_env=False).status_code == 404
        client.notebooks.stop(notebook.job.id)
        client.jobs.wait(notebook.job.id, timeout=60)
