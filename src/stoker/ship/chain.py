"""The chain of stages: what each needs, which recipe does it, and the address of what it makes.

A stage's output is addressed by what it is made from: recipe and version, settings, and the addresses of its
inputs. The same question therefore has the same address, and a finished answer is never computed again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from stoker.shipment import Shipment, ShipmentRequest, Stage, StageState


@dataclass(frozen=True)
class Step:
    """One stage of the chain."""

    stage: Stage
    recipe: str = ""  # module in stoker.recipes; empty: the platform does it itself
    version: int = 1  # raised when the recipe's output changes for the same inputs
    sources: tuple[str, ...] = ()  # of the user's: "data", "base"
    inputs: tuple[tuple[str, Stage], ...] = ()  # name the recipe knows it by -> stage that made it
    after: tuple[Stage, ...] = ()  # further stages that must have ended well

    @property
    def needs(self) -> tuple[Stage, ...]:
        return (*(stage for _, stage in self.inputs), *self.after)


HUB = "hub:"  # marks a base model that is fetched from a hub

_FETCH = Step(Stage.FETCH, "fetch_base")

CHAIN: tuple[Step, ...] = (
    Step(Stage.IMPORT, "import_data", sources=("data", "heldout")),
    Step(Stage.CURATE, "curate", inputs=(("data", Stage.IMPORT),)),
    Step(Stage.TRAIN, "train", sources=("base",), inputs=(("data", Stage.CURATE),)),
    Step(Stage.EVALUATE, "evaluate", sources=("base",), inputs=(("data", Stage.CURATE), ("train", Stage.TRAIN))),
    Step(Stage.EXPORT, "export", sources=("base",), inputs=(("train", Stage.TRAIN),)),
    Step(Stage.REGISTER, after=(Stage.EVALUATE, Stage.EXPORT)),
    Step(Stage.DEPLOY, after=(Stage.REGISTER,)),
    Step(Stage.VERIFY, "verify", inputs=(("evaluate", Stage.EVALUATE),), after=(Stage.DEPLOY,)),
    Step(Stage.PROMOTE, after=(Stage.VERIFY,)),
)

_SERVING = (Stage.DEPLOY, Stage.VERIFY, Stage.PROMOTE)


def steps_of(request: ShipmentRequest) -> tuple[Step, ...]:
    """The steps this request asks for, in order."""
    skipped = set(() if request.deploy else _SERVING)
    if not request.promote:
        skipped.add(Stage.PROMOTE)
    steps = tuple(step for step in CHAIN if step.stage not in skipped)
    if request.base.startswith(HUB):
        return (_FETCH, *(_with_fetched_base(step) for step in steps))
    return steps


def _with_fetched_base(step: Step) -> Step:
    if "base" not in step.sources:
        return step
    sources = tuple(name for name in step.sources if name != "base")
    return replace(step, sources=sources, inputs=(*step.inputs, ("base", Stage.FETCH)))


def config_of(step: Step, request: ShipmentRequest) -> dict[str, Any]:
    """The recipe's settings: what the user set, and what the request says besides."""
    given = dict(request.settings.get(step.stage, {}))
    if step.stage is Stage.TRAIN:
        return {"method": request.method, **given}
    if step.stage is Stage.FETCH:
        return {"model": request.base.removeprefix(HUB), **given}
    return given


def key_of(step: Step, shipment: Shipment) -> str | None:
    """Content address of the step's output, None while an input has none."""
    inputs: dict[str, str] = {
        name: shipment.sources[name].digest for name in step.sources if name in shipment.sources
    }
    for name, stage in step.inputs:
        run = shipment.stage(stage)
        if not run.state.ended_well:
            return None
        inputs[name] = run.key
    if step.stage is Stage.VERIFY:  # it asks what is served, which is made by export
        inputs["served"] = shipment.stage(Stage.EXPORT).key
    return address(step.recipe, step.version, config_of(step, shipment.request), inputs)


def address(recipe: str, version: int, config: Mapping[str, Any], inputs: Mapping[str, str]) -> str:
    """32 hexadecimal digits of SHA-256 over the canonical JSON of everything that determines the output."""
    text = json.dumps([recipe, version, config, inputs], sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def ready(step: Step, shipment: Shipment) -> bool:
    """Whether everything the step needs has ended well."""
    states = {run.stage: run.state for run in shipment.stages}
    return all(states.get(stage, StageState.DONE).ended_well for stage in step.needs)


def startable(shipment: Shipment) -> set[str]:
    """The addresses of what could begin now."""
    waiting = {run.stage for run in shipment.stages if run.state is StageState.WAITING}
    steps = [step for step in steps_of(shipment.request) if step.recipe and step.stage in waiting]
    keys = (key_of(step, shipment) for step in steps if ready(step, shipment))
    return {key for key in keys if key}
