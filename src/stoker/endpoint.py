"""Endpoint: a name the gateway answers to, the version behind it, and the replicas that serve it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ReplicaState(StrEnum):
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"  # takes no new requests
    GONE = "gone"


@dataclass(frozen=True)
class Replica:
    """One serving job."""

    job: int
    version: int
    state: ReplicaState
    url: str = ""
    secret: str = ""  # the key the gateway shows to it; never leaves the platform

    def __repr__(self) -> str:  # the secret stays out of logs and tracebacks
        return f"Replica(job={self.job}, version={self.version}, state={self.state}, url={self.url!r})"


@dataclass(frozen=True)
class Endpoint:
    name: str  # what callers put in "model"
    tenant: str
    version: int | None  # the version that answers now
    wanted: int  # replicas
    created_at: float
    replicas: tuple[Replica, ...] = ()
    candidate: int | None = None  # a version that is being brought up and verified
    message: str = ""
