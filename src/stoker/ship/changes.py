"""What may be changed of a shipment, each as a function from what it is to what it should be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from stoker.shipment import Shipment, ShipmentState, Source, Stage, StageRun, StageState


def with_stage(shipment: Shipment, stage: Stage, **changes: object) -> Shipment:
    """With the run of `stage` changed."""
    stages = tuple(
        replace(run, **changes) if run.stage is stage else run  # type: ignore[arg-type]
        for run in shipment.stages
    )
    return replace(shipment, stages=stages)


def failed(shipment: Shipment, stage: Stage, message: str, exit_code: int | None, now: float) -> Shipment:
    """Stopped because `stage` failed. `exit_code`: of its job, where one said so."""
    shipment = with_stage(
        shipment, stage, state=StageState.FAILED, message=message, exit_code=exit_code, ended_at=now
    )
    return stopped(shipment, ShipmentState.FAILED, f"{stage}: {message}", now)


def stopped(shipment: Shipment, state: ShipmentState, message: str, now: float) -> Shipment:
    """Ended as `state`, and with it the stages that were under way."""
    stages = tuple(
        replace(run, state=StageState.CANCELLED, ended_at=now) if run.state is StageState.RUNNING else run
        for run in shipment.stages
    )
    return replace(shipment, state=state, ended_at=now, message=message, stages=stages)


def resumed(shipment: Shipment, sources: Mapping[str, Source]) -> Shipment:
    """Going on where it stopped; from the beginning where what it reads is another by now."""
    same = sources == shipment.sources
    return replace(
        shipment,
        state=ShipmentState.RUNNING,
        ended_at=None,
        message="",
        sources=sources,
        stages=tuple(_reset(run, keep=same) for run in shipment.stages),
        version=shipment.version if same else None,
    )


def _reset(run: StageRun, *, keep: bool) -> StageRun:
    if keep and run.state.ended_well:
        return run
    return StageRun(run.stage, attempt=run.attempt + 1)
