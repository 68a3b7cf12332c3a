"""A notebook on other engines: reached through the gateway, submitting from a cell, ended when idle."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stoker.engine_config import EngineConfig
from stoker.job import JobState
from tests.api.platform import Site, open_site
from tests.labs.kubernetes import Kubernetes, cluster
from tests.labs.slurm import SlurmLab
from tests.notebooks.lab import browsing, kernel, run, start

pytest.importorskip("jupyterlab")
pytestmark = pytest.mark.slow
__all__ = ["cluster"]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with open_site(tmp_path / "home") as opened:
        yield opened


async def it_works(site: Site, engine: str, folder: Path) -> None:
    site.app.address.advertise(site.url)  # the nodes of the tests are this machine
    client = site.client()
    notebook = start(site, folder, idle=5.0, gpus=1, engine=engine)
    async with browsing(site, "", notebook) as (browser, base), kernel(browser, base) as channels:
        assert await run(channels, "print(6 * 7)") == "42\n"
        code = "import stoker; print(stoker.Client().jobs.submit(stoker.JobSpec(command=('true',)))[0].id)"
        number = int(await run(channels, code))
        assert client.jobs.get(number).owner == "admin"
    ended = client.jobs.wait(notebook.job.id, timeout=120)[0]
    assert ended.engine == engine
    assert ended.state is JobState.SUCCEEDED
    assert "nobody used it for" in ended.message


@pytest.mark.slurm
async def test_on_slurm(site: Site, slurm: SlurmLab, tmp_path: Path) -> None:
    settings = {"conf": str(slurm.conf), "folder": str(tmp_path / "shared"), "nodes_every": 0.5}
    site.app.engines.add(EngineConfig("hpc", "slurm", python=sys.executable, settings=settings), site.admin)
    await it_works(site, "hpc", tmp_path)


@pytest.mark.kubernetes
async def test_on_kubernetes(site: Site, cluster: Kubernetes, tmp_path: Path) -> None:
    namespace = cluster.namespace(f"nb-{secrets.token_hex(4)}")
    settings = {
        "kubeconfig": str(cluster.kubeconfig),
        "namespace": namespace,
        "image": "python:3.11",
        "reach": "forward",
    }
    site.app.engines.add(EngineConfig("k8s", "kubernetes", python=sys.executable, settings=settings), site.admin)
    await it_works(site, "k8s", tmp_path)
