"""The shipment pages: data on its way to an endpoint, stage by stage."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from stoker.console import stages
from stoker.console.evaluation import evaluation, unit_of
from stoker.console.jobs import charts
from stoker.console.session import PageRoute, View, Viewer
from stoker.console.summary import summary
from stoker.shipment import Shipment, Stage, StageState
from stoker.telemetry import Telemetry

PAGE = 100

router = APIRouter(route_class=PageRoute)


@router.get("/shipments")
def shipments_page(view: Viewer) -> Response:
    return view.page("shipments.html", shipments=view.app.shipments.find(view.who, limit=PAGE))


@router.get("/shipments/{shipment_id}")
def shipment_page(view: Viewer, shipment_id: str) -> Response:
    shipment = view.app.shipments.get(shipment_id, view.who)
    told = _told(view, shipment)
    train = told.get(Stage.TRAIN, Telemetry())
    results = {run.stage: run.result for run in shipment.stages}
    return view.page(
        "shipment.html",
        shipment=shipment,
        told=told,
        charts=charts(train),
        batch=stages.first_batch(train.notes.get("first_batch")),
        imported=stages.curation(results.get(Stage.IMPORT, {})),
        curated=stages.curation(results.get(Stage.CURATE, {})),
        evaluation=evaluation(
            results.get(Stage.EVALUATE, {}), view.app.shipments.artifact(shipment.id, Stage.EVALUATE, view.who)
        ),
        says={run.stage: summary(run, view.say) for run in shipment.stages},
        unit_of=unit_of,
    )


@router.post("/shipments/{shipment_id}/cancel")
def cancel(view: Viewer, shipment_id: str) -> Response:
    view.app.shipments.cancel(shipment_id, view.who)
    return RedirectResponse(f"/shipments/{shipment_id}", status_code=303)


@router.post("/shipments/{shipment_id}/resume")
def resume(view: Viewer, shipment_id: str) -> Response:
    view.app.shipments.resume(shipment_id, view.who)
    return RedirectResponse(f"/shipments/{shipment_id}", status_code=303)


def _told(view: View, shipment: Shipment) -> dict[Stage, Telemetry]:
    """What training and the stages that run told through the probe: the others are told by their results."""
    shown = (run.stage for run in shipment.stages if run.state is StageState.RUNNING or run.stage is Stage.TRAIN)
    return {stage: view.app.shipments.telemetry(shipment.id, stage, view.who) for stage in shown}
