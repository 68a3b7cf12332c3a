"""A real JupyterHub whose servers are jobs of a real platform."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from stoker.job import JobState
from tests.api.platform import Site, open_site
from tests.labs.daemons import free_ports

pytest.importorskip("jupyterhub")
pytest.importorskip("jupyterlab")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("configurable-http-proxy"), reason="configurable-http-proxy is missing"),
]

TOKEN = "0123456789abcdef0123456789abcdef"
CONFIG = """
c = get_config()
c.JupyterHub.bind_url = "http://127.0.0.1:{public}"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{hub}"
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy}"
c.JupyterHub.cleanup_servers = False
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.DummyAuthenticator.password = "open"
c.JupyterHub.services = [{{"name": "test", "api_token": "{token}"}}]
c.JupyterHub.load_roles = [{{"name": "test", "services": ["test"], "scopes": [
    "admin:users", "admin:servers", "access:servers"]}}]
c.JupyterHub.spawner_class = "stoker.jupyterhub.StokerSpawner"
c.StokerSpawner.url = "{url}"
c.StokerSpawner.key_file = "{key_file}"
c.StokerSpawner.tenant = "speech"
c.StokerSpawner.folder = "{folder}"
c.StokerSpawner.http_timeout = 120
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(tmp_path_factory.mktemp("home")) as opened:
        yield opened


class Hub:
    """``jupyterhub`` in a folder of its own; started, stopped and started again."""

    def __init__(self, folder: Path, site: Site) -> None:
        self.folder = folder
        public, inner, proxy = free_ports(3)
        (folder / "work").mkdir()
        key_file = folder / "stoker.key"
        key_file.touch(mode=0o600)
        key_file.write_text(site.admin_key)
        filled = CONFIG.format(
            public=public, hub=inner, proxy=proxy, token=TOKEN, url=site.url,
            key_file=key_file, folder=folder / "work",
        )  # fmt: skip
        (folder / "jupyterhub_config.py").write_text(filled)
        self.http = httpx.Client(
            base_url=f"http://127.0.0.1:{public}", headers={"Authorization": f"token {TOKEN}"}, timeout=60,
            trust_env=False, follow_redirects=True,
        )  # fmt: skip

    @contextmanager
    def running(self) -> Iterator[httpx.Client]:
        command = [sys.executable, "-m", "jupyterhub", "-f", "jupyterhub_config.py"]
        environment = {**os.environ, "NODE_PATH": "/usr/share/nodejs"}  # for a node that is not Debian's
        with (self.folder / "hub.log").open("a") as log:
            hub = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, env=environment)
        try:
            self._wait_answers(hub)
            yield self.http
        finally:
            hub.send_signal(signal.SIGTERM)
            hub.wait(60)

    def log(self) -> str:
        return (self.folder / "hub.log").read_text()

    def _wait_answers(self, hub: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + 90
        while True:
            assert hub.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            try:
                if self.http.get("/hub/api/").is_success:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.2)


def test_servers_go_through_the_queue_and_outlive_the_hub(site: Site, tmp_path: Path) -> None:
    hub = Hub(tmp_path, site)
    with hub.running() as http:
        assert http.post("/hub/api/users/zhang").status_code == 201
        asked = {"gpus": "H100:1", "cpus": "2", "memory": "", "idle": "30m"}
        assert http.post("/hub/api/users/zhang/server", json=asked).status_code in (201, 202)
        _wait_ready(hub, http)
        progress = http.get("/hub/api/users/zhang/server/progress").text
        assert "ready" in progress.lower()
        assert http.get("/user/zhang/api/status").json()["kernels"] == 0
    (job,) = site.client().jobs.list(states=[JobState.RUNNING])
    assert (job.owner, job.tenant, job.spec.resources.accelerators) == ("zhang", "speech", 1)
    assert "1800" in job.spec.command
    assert not [name for name in job.spec.envs if "TOKEN" in name]  # they went by a file
    with hub.running() as http:  # begun anew: the server is still known, and still there
        _wait_ready(hub, http)
        assert http.get("/user/zhang/api/status").is_success
        assert http.delete("/hub/api/users/zhang/server").status_code in (202, 204)
        (ended,) = site.client().jobs.wait(job.id, timeout=60)
    assert ended.state is JobState.CANCELLED


def _wait_ready(hub: Hub, http: httpx.Client) -> None:
    deadline = time.monotonic() + 120
    while True:
        server = http.get("/hub/api/users/zhang").json()["servers"].get("", {})
        if server.get("ready"):
            return
        assert time.monotonic() < deadline, hub.log()
        time.sleep(0.3)
