"""Shipments in OpenAI's words, without a server."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from stoker.api.openai.tuning_object import checkpoints, events, tuning_job
from stoker.api.openai.tuning_request import TuningRequest, shipment_request
from stoker.errors import BadInput
from stoker.shipment import Shipment, ShipmentRequest, ShipmentState, Stage, StageRun, StageState
from stoker.signal import Sample, Signal
from stoker.telemetry import Telemetry
from stoker.typed import read

REQUEST = ShipmentRequest(
    data="file-1", base="smollm2", name="support", settings={"train": {"epochs": 3, "batch": 8, "seed": 5}}
)


def shipment(state: ShipmentState = ShipmentState.RUNNING, **stages: StageState) -> Shipment:
    runs = tuple(
        StageRun(
            stage, stages.get(stage.value, StageState.WAITING), started_at=10.0 + number, ended_at=11.0 + number
        )
        for number, stage in enumerate(Stage)
    )
    ended = None if state is ShipmentState.RUNNING else 30.0
    return Shipment("ship-1", REQUEST, "speech", "ann", state, created_at=9.0, ended_at=ended, stages=runs)


def asked(**fields: Any) -> ShipmentRequest:
    body = {"model": "smollm2", "training_file": "file-1", **fields}
    return shipment_request(read(TuningRequest, body))


@pytest.mark.parametrize(
    ("fields", "train"),
    [
        ({}, {}),
        ({"hyperparameters": {"n_epochs": "auto", "batch_size": 4}}, {"batch": 4}),
        (
            {"hyperparameters": {"learning_rate_multiplier": 0.5}, "seed": 3},
            {"learning_rate_multiplier": 0.5, "seed": 3},
        ),
        ({"method": {"type": "supervised"}, "hyperparameters": {"n_epochs": 2}}, {"epochs": 2}),
        (
            {
                "method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 1}}},
                "hyperparameters": {"n_epochs": 2},
            },
            {"epochs": 1},
        ),
    ],
)
def test_hyperparameters_become_the_trainers_settings(fields: dict[str, Any], train: dict[str, Any]) -> None:
    assert asked(**fields).settings == {"train": train}


def test_the_suffix_names_the_model_and_without_one_the_name_is_new() -> None:
    assert asked(suffix="Support Desk (CN)").name == "support-desk-cn"
    names = {asked(model="/models/Qwen2.5-7B").name for _ in range(5)}
    assert len(names) == 5
    assert all(name.startswith("qwen2.5-7b-") for name in names)


def test_a_path_is_no_file_id() -> None:
    with pytest.raises(BadInput, match="uploaded file"):
        asked(training_file="/etc/passwd")


@pytest.mark.parametrize(
    ("stages", "status"),
    [
        ({}, "validating_files"),
        ({"import": StageState.DONE, "curate": StageState.RUNNING}, "validating_files"),
        ({"import": StageState.DONE, "curate": StageState.REUSED}, "queued"),
        ({"import": StageState.DONE, "curate": StageState.DONE, "train": StageState.RUNNING}, "running"),
    ],
)
def test_status_follows_the_stages(stages: dict[str, StageState], status: str) -> None:
    job = tuning_job(shipment(ShipmentState.RUNNING, **stages))
    assert job.status == status
    assert (job.id, job.organization_id, job.seed) == ("ftjob-ship-1", "speech", 5)
    assert (job.hyperparameters.n_epochs, job.hyperparameters.batch_size) == (3, 8)
    assert job.fine_tuned_model is None


def test_success_names_the_model_that_answers() -> None:
    job = tuning_job(shipment(ShipmentState.SUCCEEDED))
    assert (job.status, job.fine_tuned_model, job.finished_at) == ("succeeded", "support", 30)


@pytest.mark.parametrize(
    ("stage", "code", "param"),
    [("import", "invalid_training_file", "training_file"), ("train", "train_failed", None)],
)
def test_failure_tells_the_stage_and_its_words(stage: str, code: str, param: str | None) -> None:
    failed = shipment(ShipmentState.FAILED, **{stage: StageState.FAILED})
    runs = tuple(replace(run, message="no record left") if run.stage == stage else run for run in failed.stages)
    error = tuning_job(replace(failed, stages=runs)).error
    assert error is not None
    assert (error.code, error.param, error.message) == (code, param, "no record left")


def test_events_are_told_newest_first_with_the_losses_between() -> None:
    samples = (Sample(12.5, 2.0, 1), Sample(12.7, math.nan, 2), Sample(12.9, 1.5, 3))
    training = Telemetry(
        step=3, total=3, values={"loss": 1.5}, signals={"loss": Signal("loss", "", "job/1", samples)}
    )
    told = events(shipment(ShipmentState.SUCCEEDED, train=StageState.DONE), training)
    assert [event.created_at for event in told] == sorted((event.created_at for event in told), reverse=True)
    assert len({event.id for event in told}) == len(told)
    assert told[0].message == "The model answers as support"
    assert told[-1].message == "Created"
    metrics = [event.data for event in told if event.type == "metrics"]
    assert metrics == [
        {"step": 3, "train_loss": 1.5, "total_steps": 3},
        {"step": 1, "train_loss": 2.0, "total_steps": 3},
    ]


def test_only_the_finished_model_is_a_checkpoint() -> None:
    training = Telemetry(step=40, values={"loss": 0.7})
    assert checkpoints(shipment(), training) == []
    [made] = checkpoints(shipment(ShipmentState.SUCCEEDED), training)
    assert (made.step_number, made.fine_tuned_model_checkpoint) == (40, "support")
    assert made.metrics == {"step": 40.0, "train_loss": 0.7}
