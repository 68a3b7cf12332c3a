"""A shipment on a real Slurm: trained over two nodes with torchrun, one of them dies, others go on."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from stoker.client import Client
from stoker.engine_config import EngineConfig
from stoker.job import Job, JobState, Resources
from stoker.shipment import ShipmentState, Stage
from tests.labs.slurm import SlurmLab
from tests.recipes.small_training import write_spec
from tests.recipes.test_launch import end, launch
from tests.store.s3 import serving

from .platform import Platform
from .test_kill import PATIENCE_S, finish, request, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.train, pytest.mark.slurm]

TRAIN: dict[str, Any] = {"epochs": 40, "checkpoint_every": 5, "threads": 1, "precision": "fp32", "batch": 4}


STAGES = ("import", "curate", "train", "evaluate", "export")
CPUS = {stage: Resources(cpus=2) for stage in STAGES}


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


def trained_to(client: Client, shipment: str, step: int) -> Job:
    job = wait_until(client, shipment, Stage.TRAIN).stage(Stage.TRAIN).job
    assert job is not None
    deadline = time.monotonic() + PATIENCE_S
    while (client.shipments.telemetry(shipment, Stage.TRAIN).step or 0) < step:
        assert time.monotonic() < deadline, client.jobs.get(job)
        time.sleep(0.05)
    return client.jobs.get(job)


@pytest.mark.timeout(900)
def test_a_node_lost_in_the_middle_changes_nothing_of_what_is_learnt(
    client: Client, platform: Platform, slurm: SlurmLab, data: Path, tiny_base: Path, tmp_path: Path
) -> None:
    asked = replace(
        request(data, tiny_base), settings={"train": {"seed": 1, **TRAIN}}, engine="hpc", nodes=2, deploy=False,
        resources={**CPUS, "train": Resources(accelerators=1, cpus=2)},
    )  # fmt: skip
    shipment = client.shipments.create(asked)
    job = trained_to(client, shipment.id, 7)
    assert len({placement.node for placement in job.placements}) == 2
    slurm.kill_node(job.placements[1].node)

    ended = finish(client, shipment.id)
    assert ended.state is ShipmentState.SUCCEEDED, ended.message
    again = client.jobs.get(job.id)
    assert (again.state, again.attempt) == (JobState.SUCCEEDED, 2)
    assert job.placements[1].node not in {placement.node for placement in again.placements}
    first = client.jobs.telemetry(job.id).signals["loss"].samples[0]
    assert first.step is not None
    assert first.step > 5, "it began anew instead of going on from its checkpoint"
    assert ended.stage(Stage.TRAIN).result["ranks"] == 2

    curated = platform.home / "artifacts" / ended.stage(Stage.CURATE).key
    undisturbed = write_spec(
        tmp_path / "whole", "train", {"method": "lora", **asked.settings["train"]}, base=tiny_base, data=curated
    )
    assert end(launch(undisturbed, devices=2)) == [0]
    whole = json.loads((tmp_path / "whole" / "train" / "result.json").read_text())
    assert ended.stage(Stage.TRAIN).result["loss_digest"] == whole["loss_digest"]


@pytest.mark.timeout(900)
def test_from_data_to_an_answer_with_artifacts_in_s3(
    slurm: SlurmLab, data: Path, tiny_base: Path, tmp_path: Path
) -> None:
    """Nothing is shared with the nodes but Slurm's own folder: data, base and models go through S3."""
    with serving(tmp_path) as s3:
        credentials = s3.write_credentials(tmp_path / "s3.env")
        platform = Platform(
            tmp_path / "home", "--artifacts", s3.url("prod"), "--artifacts-credentials", str(credentials)
        )
        client = platform.start()
        try:
            client.engines.add(engine(slurm, tmp_path))
            asked = replace(request(data, tiny_base, max_steps=4), engine="hpc", resources=CPUS)
            ended = finish(client, client.shipments.create(asked).id)
            assert ended.state is ShipmentState.SUCCEEDED, ended.message
            (endpoint,) = client.endpoints.list()
            replica = client.jobs.get(endpoint.replicas[0].job)
            assert (replica.engine, endpoint.engine) == ("hpc", "hpc")
            said = client.chat("tiny", [{"role": "user", "content": "What is rail 3?"}], max_tokens=4)
            assert isinstance(said, str)
            secret = s3.credentials["AWS_SECRET_ACCESS_KEY"]
            assert secret not in slurm.run("scontrol", "show", "job")
            holding = {
                path.name for path in (tmp_path / "shared").rglob("*") if path.is_file() and secret in _text(path)
            }
            assert holding <= {"storage.env"}
        finally:
            for endpoint in client.endpoints.list():
                client.endpoints.stop(endpoint.name)
            for job in client.jobs.list(limit=1000):
                if not job.state.final:
                    client.jobs.cancel(job.id)
                    client.jobs.wait(job.id, timeout=60)
            client.close()
            platform.stop()


def _text(path: Path) -> str:
    return path.read_bytes().decode(errors="replace")
