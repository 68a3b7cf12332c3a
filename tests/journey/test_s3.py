"""A shipment whose artifacts lie in S3: trained by two ranks, taken away in the middle, gone on with elsewhere."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

pytest.importorskip("s3fs")
pytest.importorskip("moto")
pytest.importorskip("torch")

from stoker.depot import Depot
from stoker.job import JobState, Resources
from stoker.shipment import ShipmentState, Stage
from tests.recipes.small_training import write_spec
from tests.recipes.test_launch import end, launch
from tests.store.s3 import S3, holding, serving

from .platform import Platform
from .test_kill import PATIENCE_S, finish, request, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.train]

TRAIN: dict[str, Any] = {"epochs": 30, "checkpoint_every": 5, "threads": 1, "precision": "fp32", "batch": 4}


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[S3]:
    with serving(tmp_path) as running:
        yield running


@pytest.fixture
def platform(tmp_path: Path, s3: S3) -> Iterator[Platform]:
    """Ended afterwards with all it had running."""
    credentials = s3.write_credentials(tmp_path / "s3.env")
    options = ("--artifacts", s3.url("prod"), "--artifacts-credentials", str(credentials), "--devices", "H100:2")
    started = Platform(tmp_path / "home", *options, HOME=str(tmp_path))
    yield started
    with started.client() as client:
        for endpoint in client.endpoints.list():
            client.endpoints.stop(endpoint.name)
        for job in client.jobs.list(limit=1000):
            if not job.state.final:
                client.jobs.cancel(job.id)
                client.jobs.wait(job.id, timeout=60)
    started.stop()


def supervisor(home: Path, job: int, attempt: int) -> int:
    return int(json.loads((home / "jobs" / str(job) / str(attempt) / "claim").read_text())["pid"])


def whole_folders(depot: Depot, location: str) -> list[str]:
    """What another node could go on with: a checkpoint has a name there as soon as its first file is sent."""
    return [name for name in depot.names(location) if depot.result(f"{location}/{name}") is not None]


def lose_node(supervisor: int, disk: Path) -> None:
    """All that runs below `supervisor` is gone at once and so is its `disk`; nothing is written there meanwhile."""
    whole = psutil.Process(supervisor)
    whole.suspend()
    running = (*whole.children(recursive=True), whole)
    for process in running:
        process.suspend()
    shutil.rmtree(disk)
    for process in running:
        process.kill()


@pytest.mark.timeout(900)
def test_from_data_to_an_answer_over_a_lost_node(
    platform: Platform, s3: S3, data: Path, tiny_base: Path, tmp_path: Path
) -> None:
    depot = Depot(s3.credentials)
    client = platform.start()
    asked = replace(request(data, tiny_base, **TRAIN), resources={"train": Resources(accelerators=2)})
    shipment = client.shipments.create(asked)
    run = wait_until(client, shipment.id, Stage.TRAIN).stage(Stage.TRAIN)
    assert run.job is not None
    deadline = time.monotonic() + PATIENCE_S
    while not whole_folders(depot, s3.url(f"prod/scratch/{run.key}/checkpoints")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    lose_node(supervisor(platform.home, run.job, 1), tmp_path / ".cache" / "stoker")

    ended = finish(client, shipment.id)
    assert ended.state is ShipmentState.SUCCEEDED, ended.message
    job = client.jobs.get(run.job)
    assert (job.state, job.attempt) == (JobState.SUCCEEDED, 2)
    first = client.jobs.telemetry(job.id).signals["loss"].samples[0]
    assert first.step is not None
    assert first.step > 5, "it began anew instead of going on from its checkpoint"
    assert isinstance(client.chat("tiny", [{"role": "user", "content": "What is rail 3?"}], max_tokens=4), str)

    assert depot.names(s3.url(f"prod/scratch/{run.key}")) == []  # nobody needs the checkpoints any more
    assert not any((platform.home / "artifacts").iterdir())
    assert holding(platform.home, s3) == {"storage.env"}  # the private file, and nothing else

    depot.fetch(s3.url(f"prod/artifacts/{ended.stage(Stage.CURATE).key}"), tmp_path / "curated")
    undisturbed = write_spec(
        tmp_path / "whole", "train", {"method": "lora", **asked.settings["train"]},
        base=tiny_base, data=tmp_path / "curated",
    )  # fmt: skip
    assert end(launch(undisturbed, devices=2)) == [0]
    whole = json.loads((tmp_path / "whole" / "train" / "result.json").read_text())
    assert ended.stage(Stage.TRAIN).result["loss_digest"] == whole["loss_digest"]
    client.close()
