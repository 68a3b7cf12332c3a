"""Endpoint: a name the gateway answers to, the version behind it, and the replicas that serve it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ReplicaState(StrEnum):
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"  # takes no new requests
    FAILED = "failed"  # its job ended by itself; kept until it is replaced


@dataclass(frozen=True)
class Replica:
    """One serving job."""

    job: int
    version: int
    state: ReplicaState = ReplicaState.STARTING
    attempt: int = 0  # the attempt of the job that `url` belongs to
    url: str = ""
    since: float = 0.0  # when it came into this state
    key_file: str = ""  # holds the key that the gateway shows to it
    secret: str = ""  # what is in `key_file`, in memory only: never stored, never printed

    def __repr__(self) -> str:
        return f"Replica(job={self.job}, version={self.version}, state={self.state}, url={self.url!r})"


@dataclass(frozen=True)
class Endpoint:
    name: str  # what callers put in "model"
    tenant: str
    owner: str
    version: int | None  # the version that answers now
    wanted: int  # replicas of it
    created_at: float
    replicas: tuple[Replica, ...] = ()
    candidate: int | None = None  # a version that is being brought up, and verified before it answers
    switch: bool = False  # the candidate takes over as soon as it is ready, without further verification
    engine: str = ""  # where replicas run; empty: any engine that fits
    message: str = ""

    @property
    def ready(self) -> tuple[Replica, ...]:
        """Replicas of the answering version that take requests."""
        return tuple(
            replica
            for replica in self.replicas
            if replica.version == self.version and replica.state is ReplicaState.READY
        )
