"""A shipment on a real Slurm: trained over two nodes with torchrun, one of them dies, others go on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

from stoker.client import Client
from stoker.engine_config import EngineConfig
from stoker.shipment import ShipmentState
from tests.labs.slurm import SlurmLab
from tests.store.s3 import holding, serving

from . import lost_node
from .platform import Platform
from .test_kill import finish, request

pytestmark = [pytest.mark.slow, pytest.mark.train, pytest.mark.slurm]


def engine(slurm: SlurmLab, folder: Path) -> EngineConfig:
    settings = {"conf": str(slurm.conf), "folder": str(folder / "shared"), "nodes_every": 0.5}
    return EngineConfig("hpc", "slurm", python=sys.executable, settings=settings)


@pytest.fixture
def client(platform: Platform, slurm: SlurmLab, tmp_path: Path) -> Iterator[Client]:
    """A platform whose home lies on storage that the nodes see too, with the Slurm as its engine."""
    client = platform.start()
    client.engines.add(engine(slurm, tmp_path))
    yield client
    client.close()


@pytest.mark.timeout(900)
def test_a_node_lost_in_the_middle_changes_nothing_of_what_is_learnt(
    client: Client, platform: Platform, slurm: SlurmLab, data: Path, tiny_base: Path, tmp_path: Path
) -> None:
    lost_node.check(client, "hpc", slurm.kill_node, platform.home, data, tiny_base, tmp_path)


@pytest.mark.timeout(900)
def test_from_data_to_an_answer_with_artifacts_in_s3(
    slurm: SlurmLab, data: Path, tiny_base: Path, tmp_path: Path
) -> None:
    """Nothing is shared with the nodes but Slurm's own folder: data, base and models go through S3."""
    with serving(tmp_path) as s3:
        credentials = s3.write_credentials(tmp_path / "s3.env")
        options = ("--artifacts", s3.url("prod"), "--artifacts-credentials", str(credentials))
        platform = Platform(tmp_path / "home", *options, HOME=str(tmp_path))
        client = platform.start()
        try:
            client.engines.add(engine(slurm, tmp_path))
            asked = replace(request(data, tiny_base, max_steps=4), engine="hpc", resources=lost_node.CPUS)
            ended = finish(client, client.shipments.create(asked).id)
            assert ended.state is ShipmentState.SUCCEEDED, ended.message
            (endpoint,) = client.endpoints.list()
            replica = client.jobs.get(endpoint.replicas[0].job)
            assert (replica.engine, endpoint.engine) == ("hpc", "hpc")
            said = client.chat("tiny", [{"role": "user", "content": "What is rail 3?"}], max_tokens=4)
            assert isinstance(said, str)
            assert s3.credentials["AWS_SECRET_ACCESS_KEY"] not in slurm.run("scontrol", "show", "job")
            assert holding(tmp_path / "shared", s3) <= {"storage.env"}
        finally:
            for endpoint in client.endpoints.list():
                client.endpoints.stop(endpoint.name)
            for job in client.jobs.list(limit=1000):
                if not job.state.final:
                    client.jobs.cancel(job.id)
                    client.jobs.wait(job.id, timeout=60)
            client.close()
            platform.stop()
