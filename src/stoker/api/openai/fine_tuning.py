"""Fine-tuning jobs: OpenAI's name for a shipment from an uploaded file."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from stoker.account import Account
from stoker.api.auth import Caller, Platform
from stoker.api.fields import Name
from stoker.api.openai.pages import Listing, after
from stoker.api.openai.tuning_object import (
    PREFIX,
    Checkpoint,
    TuningEvent,
    TuningJob,
    checkpoints,
    events,
    tuning_job,
)
from stoker.api.openai.tuning_request import TuningRequest, shipment_request
from stoker.api.wire import Json
from stoker.app import App
from stoker.errors import NotFound
from stoker.shipment import Shipment, Stage, StageState
from stoker.telemetry import Telemetry

_MOST = 10_000  # shipments looked through for one list

router = APIRouter(prefix="/fine_tuning/jobs", tags=["fine-tuning"])

Limit = Annotated[int, Query(ge=1, le=1000)]


@router.post("", response_model=TuningJob)
def create(body: TuningRequest, app: Platform, who: Caller) -> Response:
    """Fine-tune, deploy, verify: `fine_tuned_model` of the finished job can be used in a chat at once."""
    return Json(tuning_job(app.shipments.create(shipment_request(body), who)))


@router.get("", response_model=Listing[TuningJob])
def find(
    app: Platform, who: Caller, limit: Limit = 20, after_: Annotated[str, Query(alias="after")] = ""
) -> Response:
    """The newest first."""
    return Json(after([tuning_job(one) for one in app.shipments.find(who, limit=_MOST)], after_, limit))


@router.get("/{job_id}", response_model=TuningJob)
def get(job_id: Name, app: Platform, who: Caller) -> Response:
    return Json(tuning_job(_shipment(app, job_id, who)))


@router.post("/{job_id}/cancel", response_model=TuningJob)
def cancel(job_id: Name, app: Platform, who: Caller) -> Response:
    shipment = _shipment(app, job_id, who)
    app.shipments.cancel(shipment.id, who)
    return Json(tuning_job(app.shipments.get(shipment.id, who)))


@router.get("/{job_id}/events", response_model=Listing[TuningEvent])
def find_events(
    job_id: Name, app: Platform, who: Caller, limit: Limit = 20, after_: Annotated[str, Query(alias="after")] = ""
) -> Response:
    """The newest first."""
    shipment = _shipment(app, job_id, who)
    return Json(after(events(shipment, _training(app, shipment, who)), after_, limit))


@router.get("/{job_id}/checkpoints", response_model=Listing[Checkpoint])
def find_checkpoints(
    job_id: Name, app: Platform, who: Caller, limit: Limit = 10, after_: Annotated[str, Query(alias="after")] = ""
) -> Response:
    shipment = _shipment(app, job_id, who)
    return Json(after(checkpoints(shipment, _training(app, shipment, who)), after_, limit))


def _shipment(app: App, job_id: str, who: Account) -> Shipment:
    if not job_id.startswith(PREFIX):
        raise NotFound(f'no fine-tuning job "{job_id}"; ids begin with {PREFIX}')
    return app.shipments.get(job_id.removeprefix(PREFIX), who)


def _training(app: App, shipment: Shipment, who: Account) -> Telemetry | None:
    """What the training told of itself, None before it began."""
    began = any(run.stage is Stage.TRAIN and run.state is not StageState.WAITING for run in shipment.stages)
    return app.shipments.telemetry(shipment.id, Stage.TRAIN, who) if began else None
