"""A shipment as OpenAI's clients see it: a fine-tuning job, its events and its checkpoints."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from stoker.api.openai.tuning_request import Hyperparameters, Method, Supervised
from stoker.shipment import Shipment, ShipmentState, Stage, StageRun, StageState
from stoker.telemetry import Telemetry

PREFIX = "ftjob-"

Status = Literal["validating_files", "queued", "running", "succeeded", "failed", "cancelled"]
_ENDED: dict[ShipmentState, Status] = {
    ShipmentState.SUCCEEDED: "succeeded",
    ShipmentState.FAILED: "failed",
    ShipmentState.CANCELLED: "cancelled",
}
_CHECKING = (Stage.IMPORT, Stage.CURATE)


@dataclass(frozen=True)
class TuningError:
    code: str
    message: str
    param: str | None = None


@dataclass(frozen=True)
class TuningJob:
    id: str
    created_at: int
    model: str
    status: Status
    training_file: str
    validation_file: str | None
    hyperparameters: Hyperparameters
    method: Method
    seed: int
    fine_tuned_model: str | None = None
    finished_at: int | None = None
    error: TuningError | None = None
    result_files: tuple[str, ...] = ()
    trained_tokens: int | None = None
    estimated_finish: int | None = None
    organization_id: str = ""
    integrations: tuple[Any, ...] = ()
    metadata: dict[str, str] = field(default_factory=dict)
    object: Literal["fine_tuning.job"] = "fine_tuning.job"


@dataclass(frozen=True)
class TuningEvent:
    id: str
    created_at: int
    message: str
    level: Literal["info", "warn", "error"] = "info"
    type: Literal["message", "metrics"] = "message"
    data: dict[str, Any] | None = None
    object: Literal["fine_tuning.job.event"] = "fine_tuning.job.event"


@dataclass(frozen=True)
class Checkpoint:
    """Only the finished model is a checkpoint: those before it lie in the job's own folder and are not served."""

    id: str
    created_at: int
    fine_tuned_model_checkpoint: str
    fine_tuning_job_id: str
    step_number: int
    metrics: dict[str, float]
    object: Literal["fine_tuning.job.checkpoint"] = "fine_tuning.job.checkpoint"


def tuning_job(shipment: Shipment) -> TuningJob:
    request = shipment.request
    train = request.settings.get(Stage.TRAIN.value, {})
    hyperparameters = Hyperparameters(
        n_epochs=train.get("epochs", "auto"),
        batch_size=train.get("batch", "auto"),
        learning_rate_multiplier=train.get("learning_rate_multiplier", "auto"),
    )
    done = shipment.state is ShipmentState.SUCCEEDED
    return TuningJob(
        id=PREFIX + shipment.id,
        created_at=int(shipment.created_at),
        model=request.base,
        status=_status(shipment),
        training_file=request.data,
        validation_file=request.heldout or None,
        hyperparameters=hyperparameters,
        method=Method("supervised", Supervised(hyperparameters)),
        seed=int(train.get("seed", 0)),
        fine_tuned_model=request.name if done else None,
        finished_at=int(shipment.ended_at) if shipment.ended_at else None,
        error=_error(shipment),
        trained_tokens=_trained_tokens(shipment),
        organization_id=shipment.tenant,
    )


def _status(shipment: Shipment) -> Status:
    if shipment.state in _ENDED:
        return _ENDED[shipment.state]
    states = {run.stage: run.state for run in shipment.stages}
    if any(not states.get(stage, StageState.DONE).ended_well for stage in _CHECKING):
        return "validating_files"
    return "queued" if states.get(Stage.TRAIN) is StageState.WAITING else "running"


def _error(shipment: Shipment) -> TuningError | None:
    if shipment.state is not ShipmentState.FAILED:
        return None
    failed = next((run for run in shipment.stages if run.state is StageState.FAILED), None)
    bad_file = failed is not None and failed.stage in _CHECKING
    message = (failed.message if failed else "") or shipment.message
    stage = failed.stage.value if failed else "shipment"
    return TuningError(
        "invalid_training_file" if bad_file else f"{stage}_failed", message, "training_file" if bad_file else None
    )


def _trained_tokens(shipment: Shipment) -> int | None:
    run = next((run for run in shipment.stages if run.stage is Stage.TRAIN), None)
    tokens = run.result.get("tokens") if run else None
    return tokens if isinstance(tokens, int) else None


def events(shipment: Shipment, training: Telemetry | None) -> list[TuningEvent]:
    """The job's history, the newest first, with the training's measurements in between."""
    told = [TuningEvent(f"{PREFIX}{shipment.id}-0", int(shipment.created_at), "Created")]
    for run in shipment.stages:
        told += _stage_events(shipment, run)
    if training is not None:
        told += _metric_events(shipment, training)
    if shipment.state is ShipmentState.SUCCEEDED:
        told.append(_event(shipment, "end", shipment.ended_at, f"The model answers as {shipment.request.name}"))
    told.sort(key=lambda event: event.created_at)
    return told[::-1]


def _stage_events(shipment: Shipment, run: StageRun) -> Iterator[TuningEvent]:
    if run.started_at:
        yield _event(shipment, f"{run.stage}-start", run.started_at, f"{run.stage.capitalize()} began")
    if not run.ended_at:
        return
    text = {StageState.REUSED: "was done before and is used again", StageState.CANCELLED: "was cancelled"}
    if run.state is StageState.FAILED:
        message = f"{run.stage.capitalize()} failed: {run.message}"
        yield TuningEvent(f"{PREFIX}{shipment.id}-{run.stage}-end", int(run.ended_at), message, "error")
    else:
        message = f"{run.stage.capitalize()} {text.get(run.state, 'is done')}"
        yield _event(shipment, f"{run.stage}-end", run.ended_at, message)


def _metric_events(shipment: Shipment, training: Telemetry) -> Iterator[TuningEvent]:
    losses = training.signals.get("loss")
    for number, sample in enumerate(losses.samples if losses else ()):
        if sample.step is None or not math.isfinite(sample.value):
            continue
        yield TuningEvent(
            f"{PREFIX}{shipment.id}-metric-{number}",
            int(sample.at),
            f"Step {sample.step}/{training.total or '?'}: training loss={sample.value:.2f}",
            type="metrics",
            data={"step": sample.step, "train_loss": sample.value, "total_steps": training.total},
        )


def _event(shipment: Shipment, name: str, at: float | None, message: str) -> TuningEvent:
    return TuningEvent(f"{PREFIX}{shipment.id}-{name}", int(at or shipment.created_at), message)


def checkpoints(shipment: Shipment, training: Telemetry | None) -> list[Checkpoint]:
    if shipment.state is not ShipmentState.SUCCEEDED:
        return []
    loss = training.values.get("loss") if training else None
    metrics = {"train_loss": float(loss)} if isinstance(loss, (int, float)) and math.isfinite(loss) else {}
    step = (training.step if training else None) or 0
    job = PREFIX + shipment.id
    made = Checkpoint(
        id=f"ftckpt-{shipment.id}",
        created_at=int(shipment.ended_at or shipment.created_at),
        fine_tuned_model_checkpoint=shipment.request.name,
        fine_tuning_job_id=job,
        step_number=step,
        metrics={"step": float(step), **metrics},
    )
    return [made]
