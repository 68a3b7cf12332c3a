"""Stoker: one platform for an enterprise's AI accelerators.

``import stoker`` is the typed Python client; everything else is internal to the platform. Names are loaded when
they are first used, because a training script imports ``stoker.probe`` and should not wait for an HTTP client.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stoker.account import Account, Role
    from stoker.client import Client, Info, Login
    from stoker.client.slurm_executor import SlurmExecutor, slurm_executor
    from stoker.cluster import Device, Node
    from stoker.endpoint import Endpoint, Replica, ReplicaState
    from stoker.errors import (
        Away,
        BadInput,
        Broken,
        Conflict,
        Denied,
        MissingExtra,
        NotFound,
        StokerError,
        TooLarge,
        Unfit,
    )
    from stoker.finding import Finding, Verdict
    from stoker.job import Condition, Dependency, Job, JobEvent, JobKind, JobSpec, JobState, Resources
    from stoker.model import Comparison, ModelSummary, ModelVersion, Promotion
    from stoker.notebook import Link, Notebook, NotebookRequest
    from stoker.shipment import Shipment, ShipmentRequest, ShipmentState, Stage, StageState
    from stoker.telemetry import Telemetry

__version__ = "0.1.0"

_HOMES = {
    "stoker.account": ("Account", "Role"),
    "stoker.client": ("Client", "Info", "Login"),
    "stoker.client.slurm_executor": ("SlurmExecutor", "slurm_executor"),
    "stoker.cluster": ("Device", "Node"),
    "stoker.endpoint": ("Endpoint", "Replica", "ReplicaState"),
    "stoker.errors": (
        "Away", "BadInput", "Broken", "Conflict", "Denied", "MissingExtra", "NotFound", "StokerError", "TooLarge",
        "Unfit",
    ),
    "stoker.finding": ("Finding", "Verdict"),
    "stoker.job": (
        "Condition", "Dependency", "Job", "JobEvent", "JobKind", "JobSpec", "JobState", "Resources",
    ),
    "stoker.model": ("Comparison", "ModelSummary", "ModelVersion", "Promotion"),
    "stoker.notebook": ("Link", "Notebook", "NotebookRequest"),
    "stoker.shipment": ("Shipment", "ShipmentRequest", "ShipmentState", "Stage", "StageState"),
    "stoker.telemetry": ("Telemetry",),
}  # fmt: skip
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Account", "Away", "BadInput", "Broken", "Client", "Comparison", "Condition", "Conflict", "Denied",
    "Dependency", "Device", "Endpoint", "Finding", "Info", "Job", "JobEvent", "JobKind", "JobSpec", "JobState",
    "Link", "Login", "MissingExtra", "ModelSummary", "ModelVersion", "Node", "NotFound", "Notebook",
    "NotebookRequest", "Promotion", "Replica", "ReplicaState", "Resources", "Role", "Shipment",
    "ShipmentRequest", "ShipmentState", "SlurmExecutor", "Stage", "StageState", "StokerError", "Telemetry",
    "TooLarge", "Unfit", "Verdict", "__version__", "slurm_executor",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'stoker' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOME_OF[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
