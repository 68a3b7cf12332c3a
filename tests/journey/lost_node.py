"""A training over two nodes of an engine, one of which dies: what every engine must give a shipment."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from stoker.client import Client
from stoker.job import Job, JobState, Resources
from stoker.shipment import ShipmentState, Stage
from tests.recipes.small_training import write_spec
from tests.recipes.test_launch import end, launch

from .test_kill import PATIENCE_S, finish, request, wait_until

TRAIN: dict[str, Any] = {
    "seed": 1, "epochs": 30, "checkpoint_every": 5, "threads": 1, "precision": "fp32", "batch": 4
}  # fmt: skip
CPUS = {stage: Resources(cpus=2) for stage in ("import", "curate", "train", "evaluate", "export")}


def check(
    client: Client, engine: str, kill: Callable[[str], None], home: Path, data: Path, base: Path, folder: Path
) -> None:
    """It goes on from its checkpoint on other nodes, and ends as one that nobody disturbed, on one node."""
    asked = replace(
        request(data, base), settings={"train": TRAIN}, engine=engine, nodes=2, deploy=False,
        resources={**CPUS, "train": Resources(accelerators=1, cpus=2)},
    )  # fmt: skip
    shipment = client.shipments.create(asked)
    job = trained_to(client, shipment.id, 7)
    assert len({placement.node for placement in job.placements}) == 2
    kill(job.placements[1].node)

    ended = finish(client, shipment.id)
    assert ended.state is ShipmentState.SUCCEEDED, ended.message
    again = client.jobs.get(job.id)
    assert (again.state, again.attempt) == (JobState.SUCCEEDED, 2)
    assert job.placements[1].node not in {placement.node for placement in again.placements}
    first = client.jobs.telemetry(job.id).signals["loss"].samples[0]
    assert first.step is not None
    assert first.step > 5, "it began anew instead of going on from its checkpoint"
    assert ended.stage(Stage.TRAIN).result["ranks"] == 2

    curated = home / "artifacts" / ended.stage(Stage.CURATE).key
    undisturbed = write_spec(folder / "whole", "train", {"method": "lora", **TRAIN}, base=base, data=curated)
    assert end(launch(undisturbed, devices=2)) == [0]
    whole = json.loads((folder / "whole" / "train" / "result.json").read_text())
    assert ended.stage(Stage.TRAIN).result["loss_digest"] == whole["loss_digest"]


def trained_to(client: Client, shipment: str, step: int) -> Job:
    job = wait_until(client, shipment, Stage.TRAIN).stage(Stage.TRAIN).job
    assert job is not None
    deadline = time.monotonic() + PATIENCE_S
    while (client.shipments.telemetry(shipment, Stage.TRAIN).step or 0) < step:
        assert time.monotonic() < deadline, client.jobs.get(job)
        time.sleep(0.05)
    return client.jobs.get(job)
