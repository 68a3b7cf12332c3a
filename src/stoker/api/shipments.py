"""Shipments over HTTP: data to endpoint, as `stoker ship` starts it."""

from __future__ import annotations

from fastapi import APIRouter, Response

from stoker.api.auth import Caller, Platform
from stoker.api.fields import Limit, Name
from stoker.api.wire import Json
from stoker.page import Page
from stoker.shipment import Shipment, ShipmentRequest, Stage
from stoker.telemetry import Telemetry

router = APIRouter(prefix="/shipments", tags=["shipments"])


@router.post("", response_model=Shipment, status_code=201)
def create(body: ShipmentRequest, app: Platform, who: Caller) -> Response:
    """Start a shipment. Stages whose output is there already are not run again."""
    return Json(app.shipments.create(body, who), 201)


@router.get("", response_model=Page[Shipment])
def find(app: Platform, who: Caller, limit: Limit = 100) -> Response:
    """Shipments, the newest first."""
    return Json(Page(tuple(app.shipments.find(who, limit=limit))))


@router.get("/{shipment_id}", response_model=Shipment)
def get(shipment_id: Name, app: Platform, who: Caller) -> Response:
    return Json(app.shipments.get(shipment_id, who))


@router.post("/{shipment_id}/cancel", response_model=Shipment)
def cancel(shipment_id: Name, app: Platform, who: Caller) -> Response:
    """Cancel what runs of it. Finished stages stay and are used again by `resume`."""
    app.shipments.cancel(shipment_id, who)
    return Json(app.shipments.get(shipment_id, who))


@router.post("/{shipment_id}/resume", response_model=Shipment)
def resume(shipment_id: Name, app: Platform, who: Caller) -> Response:
    """Go on after a failure or a cancel, from the first stage that has not ended well."""
    app.shipments.resume(shipment_id, who)
    return Json(app.shipments.get(shipment_id, who))


@router.get("/{shipment_id}/stages/{stage}/telemetry", response_model=Telemetry)
def telemetry(shipment_id: Name, stage: Stage, app: Platform, who: Caller) -> Response:
    """What the stage's job told of itself: progress, loss, expected and measured speed."""
    return Json(app.shipments.telemetry(shipment_id, stage, who))
