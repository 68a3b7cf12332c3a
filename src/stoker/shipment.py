"""Shipment: one journey of data to an endpoint, as a chain of stages. What `stoker ship` starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from stoker.endpoint import EndpointSettings
from stoker.errors import BadInput
from stoker.job import Resources
from stoker.typed import strict


class Stage(StrEnum):
    """In the order people see them."""

    FETCH = "fetch"  # the base model from a hub; only where it is given as hub:OWNER/NAME
    IMPORT = "import"
    CURATE = "curate"
    TRAIN = "train"
    EVALUATE = "evaluate"
    EXPORT = "export"
    REGISTER = "register"
    DEPLOY = "deploy"
    VERIFY = "verify"
    PROMOTE = "promote"


class StageState(StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    REUSED = "reused"  # its output was there already
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended_well(self) -> bool:
        return self in (StageState.DONE, StageState.REUSED)


class ShipmentState(StrEnum):
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Source:
    """Something of the user's that stages read: where it lies, and the digest of what lay there at the start."""

    path: str
    digest: str


@strict
@dataclass(frozen=True)
class ShipmentRequest:
    """What a user asks for. Per-stage settings go to the recipe of that stage and are checked by it."""

    data: str  # absolute path, or file id of an uploaded file
    base: str  # path of a model folder or GGUF file, or a name in the model catalogue
    name: str  # the model's name in the registry and at the gateway
    heldout: str = ""  # optional second data path: the held-out split
    method: str = "lora"
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # stage -> recipe settings
    resources: Mapping[str, Resources] = field(default_factory=dict)  # stage -> what its job asks for
    engine: str = ""  # where its jobs run; empty: any engine that fits
    nodes: int = 1  # of the training; its resources are those of each
    min_nodes: int = 0  # elastic: the training runs on so many nodes at least; 0: on `nodes`
    preemptible: bool = False  # the training may be ended for what is more important; it goes on later
    deploy: bool = True
    promote: bool = True  # make it the champion once verified
    endpoint: EndpointSettings | None = None  # how its endpoint serves once promoted; None: as it does

    def __post_init__(self) -> None:
        if self.nodes < 1:
            raise BadInput(f"{self.nodes} nodes were asked for; a training needs at least one", param="nodes")
        if not 0 <= self.min_nodes <= self.nodes:
            raise BadInput(
                f"min_nodes {self.min_nodes} was given; allowed is 1 to {self.nodes}, the nodes of the training",
                param="min_nodes",
            )


@dataclass(frozen=True)
class StageRun:
    """Where one stage of a shipment stands."""

    stage: Stage
    state: StageState = StageState.WAITING
    key: str = ""  # content address of its output, known once its inputs are
    job: int | None = None
    attempt: int = 0
    started_at: float | None = None
    ended_at: float | None = None
    message: str = ""
    exit_code: int | None = None  # of the job, when it failed; 2 says that the input is at fault
    result: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Shipment:
    id: str
    request: ShipmentRequest
    tenant: str
    owner: str
    state: ShipmentState
    created_at: float
    ended_at: float | None = None
    sources: Mapping[str, Source] = field(default_factory=dict)  # "data", "base", "heldout"
    stages: tuple[StageRun, ...] = ()
    version: int | None = None  # registered model version
    message: str = ""

    def stage(self, stage: Stage) -> StageRun:
        return next(run for run in self.stages if run.stage is stage)
