"""kill -9 of the platform in every stage of a shipment, and of the trainer: nothing is lost, nothing runs twice."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from stoker.client import Client
from stoker.shipment import Shipment, ShipmentRequest, ShipmentState, Stage, StageState

from .platform import Platform

pytestmark = [pytest.mark.slow, pytest.mark.train]

PATIENCE_S = 300.0


def request(data: Path, base: Path, **train: object) -> ShipmentRequest:
    settings: dict[str, dict[str, object]] = {
        "train": {"epochs": 2, "seed": 1, **train},
        # A random model's greedy answers wander; what is under test here is the way, not the destination.
        "verify": {"max_mean_kl": 1.0, "min_agreeing": 0.0},
    }
    return ShipmentRequest(data=str(data), base=str(base), name="tiny", settings=settings)


def reached(shipment: Shipment, stage: Stage) -> bool:
    return shipment.stage(stage).state is not StageState.WAITING


def wait_until(client: Client, shipment_id: str, stage: Stage) -> Shipment:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        shipment = client.shipments.get(shipment_id)
        if reached(shipment, stage) or shipment.state is not ShipmentState.RUNNING:
            return shipment
        time.sleep(0.02)
    raise AssertionError(f"{stage} was not reached: {shipment}")


def finish(client: Client, shipment_id: str) -> Shipment:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        shipment = client.shipments.get(shipment_id)
        if shipment.state is not ShipmentState.RUNNING:
            return shipment
        time.sleep(0.1)
    raise AssertionError(f"it does not end: {shipment}")


@pytest.mark.timeout(900)
def test_the_platform_killed_in_every_stage(platform: Platform, data: Path, tiny_base: Path) -> None:
    client = platform.start()
    shipment = client.shipments.create(request(data, tiny_base))
    for run in shipment.stages:
        wait_until(client, shipment.id, run.stage)
        platform.kill()
        client.close()
        client = platform.start()
    ended = finish(client, shipment.id)
    assert ended.state is ShipmentState.SUCCEEDED, ended.message
    jobs = [job for job in client.jobs.list(ship=shipment.id) if job.ship == shipment.id]
    assert {name: count for name, count in Counter(job.spec.name for job in jobs).items() if count > 1} == {}
    assert {job.spec.name: job.attempt for job in jobs if job.attempt != 1} == {}
    answer = client.chat("tiny", [{"role": "user", "content": "What is rail 3?"}], max_tokens=4)
    assert isinstance(answer, str)
    client.close()


@pytest.mark.timeout(900)
def test_a_killed_trainer_goes_on_from_its_checkpoint(platform: Platform, data: Path, tiny_base: Path) -> None:
    client = platform.start()
    wanted = request(data, tiny_base, epochs=60, checkpoint_every=5)
    shipment = client.shipments.create(wanted)
    running = wait_until(client, shipment.id, Stage.TRAIN)
    job = running.stage(Stage.TRAIN).job
    assert job is not None
    deadline = time.monotonic() + PATIENCE_S
    while (client.shipments.telemetry(shipment.id, Stage.TRAIN).step or 0) < 7:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(trainer(platform.home, job), signal.SIGKILL)
    failed = finish(client, shipment.id)
    assert failed.state is ShipmentState.FAILED
    assert "signal" in failed.message.lower() or "killed" in failed.message.lower(), failed.message

    again = client.shipments.create(wanted)
    assert finish(client, again.id).state is ShipmentState.SUCCEEDED
    ended = client.shipments.get(again.id)
    assert ended.stage(Stage.IMPORT).state is StageState.REUSED
    first = client.shipments.telemetry(again.id, Stage.TRAIN).signals["loss"].samples[0]
    assert first.step is not None
    assert first.step > 5, "it began anew instead of going on from its checkpoint"

    same = finish(client, client.shipments.create(wanted).id)
    recipes = [run for run in same.stages if run.key]
    assert all(run.state is StageState.REUSED for run in recipes), "the same call again ran something"
    assert same.version == ended.version
    client.close()


def trainer(home: Path, job: int) -> int:
    """The process that runs the train recipe as `job`."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
                environment = (folder / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            mine = f"STOKER_FILES={home}/jobs/{job}/".encode()
            if b"stoker.recipes.train" in words and any(entry.startswith(mine) for entry in environment):
                return int(folder.name)
    raise AssertionError("no trainer runs")
