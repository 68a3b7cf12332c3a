"""What a shipment has made, as the version of a model that is to be registered."""

from __future__ import annotations

from collections.abc import Mapping

from stoker.model import ModelVersion
from stoker.ship.chain import CHAIN, config_of
from stoker.shipment import Shipment, Stage


def draft(shipment: Shipment, parent: int | None, now: float) -> ModelVersion:
    """Without a number, which the registry gives. `parent`: the version it follows. Export must have ended well."""
    results = {run.stage: run.result for run in shipment.stages}
    keys = {run.stage: run.key for run in shipment.stages}
    train = next(step for step in CHAIN if step.stage is Stage.TRAIN)
    return ModelVersion(
        model=shipment.request.name,
        version=0,
        created_at=now,
        artifact=keys[Stage.EXPORT],
        engine=str(results[Stage.EXPORT].get("engine", "llama.cpp")),
        base=shipment.request.base,
        parent=parent,
        dataset=str(results[Stage.CURATE].get("digest", keys[Stage.CURATE])),
        config={name: str(value) for name, value in config_of(train, shipment.request).items()},
        metrics=_metrics(results),
        ship=shipment.id,
    )


def _metrics(results: Mapping[Stage, object]) -> dict[str, float]:
    """Numbers of evaluation and training by dotted names: ``evaluate.new.exact_match``."""
    found: dict[str, float] = {}
    for stage in (Stage.EVALUATE, Stage.TRAIN):
        _flatten(stage.value, results.get(stage), found)
    return found


def _flatten(name: str, value: object, into: dict[str, float]) -> None:
    if isinstance(value, bool):
        return
    if isinstance(value, (int, float)):
        into[name] = float(value)
    elif isinstance(value, dict):
        for key, inner in value.items():
            _flatten(f"{name}.{key}", inner, into)
