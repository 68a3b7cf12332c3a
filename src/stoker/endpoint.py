"""Endpoint: a name the gateway answers to, the version behind it, and the replicas that serve it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from stoker.errors import BadInput
from stoker.reclaim import Return
from stoker.typed import strict

MOST_REPLICAS = 1000


class ReplicaState(StrEnum):
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"  # takes no new requests
    ASLEEP = "asleep"  # its weights are in the host's memory, its devices are lent
    WAKING = "waking"  # it wants its devices back
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
    displaced: int = 0  # jobs that were seen to be ended for it
    key_file: str = ""  # holds the key that the gateway shows to it
    secret: str = ""  # what is in `key_file`, in memory only: never stored, never printed

    def __repr__(self) -> str:
        return f"Replica(job={self.job}, version={self.version}, state={self.state}, url={self.url!r})"


@strict
@dataclass(frozen=True)
class Scaling:
    """Between which bounds the number of replicas follows the load, and what the user wants of them."""

    floor: int = 1  # replicas that stay whatever the load; 0: none stays once nobody asks
    ceiling: int = 1  # the same as the floor: it does not follow the load
    target: float = 8.0  # requests in flight that one replica answers well
    ttft: float | None = None  # seconds to the first token that are wanted, 95th percentile
    tpot: float | None = None  # seconds for each further token that are wanted, 95th percentile
    reserve: int = 0  # ready replicas kept above what is needed
    window: float = 300.0  # seconds that the load has to be low before a replica goes
    idle: float = 900.0  # with a floor of 0: seconds without a request before the last replica goes
    hold: float = 120.0  # with a floor of 0: seconds that a request waits for a replica
    sleep: int = 0  # replicas that sleep instead of going, where their engine can

    def __post_init__(self) -> None:
        if not 0 <= self.floor <= self.ceiling <= MOST_REPLICAS or not self.ceiling:
            raise BadInput(
                f"{self.floor} to {self.ceiling} replicas were asked for;"
                f" allowed is 0 to {MOST_REPLICAS}, the least first, and the most at least 1",
                param="scaling",
            )
        for name, value in (("target", self.target), ("ttft", self.ttft), ("tpot", self.tpot)):
            if value is not None and not 0 < value < float("inf"):
                raise BadInput(f"{name} of {value:g} was given; it must be above zero", param="scaling")
        if not 0 <= self.reserve <= MOST_REPLICAS or not 0 <= self.window <= 86400.0:
            raise BadInput("a reserve cannot be negative, and a window is 0 s to one day", param="scaling")
        if not 0 <= self.sleep <= MOST_REPLICAS:
            raise BadInput(f"{self.sleep} may sleep; allowed is 0 to {MOST_REPLICAS}", param="scaling")
        if not 0 <= self.idle <= 86400.0 or not 0 <= self.hold <= 3600.0:
            raise BadInput("idle is 0 s to one day, and hold 0 s to one hour", param="scaling")


@strict
@dataclass(frozen=True)
class EndpointSettings:
    """What a user says of how an endpoint serves, whichever version."""

    scaling: Scaling = field(default_factory=Scaling)
    queue: str = ""  # of its replicas; empty: as it is


@dataclass(frozen=True)
class Endpoint:
    name: str  # what callers put in "model"
    tenant: str
    owner: str
    version: int | None  # the version that answers now
    wanted: int  # replicas of it, now
    created_at: float
    replicas: tuple[Replica, ...] = ()
    candidate: int | None = None  # a version that is being brought up, and verified before it answers
    switch: bool = False  # the candidate takes over as soon as it is ready, without further verification
    engine: str = ""  # where replicas run; empty: any engine that fits
    message: str = ""
    scaling: Scaling = field(default_factory=Scaling)
    cause: str = ""  # what `wanted` rests on where it follows the load: see schedule/lend.py
    queue: str = ""  # of its replicas
    returns: tuple[Return, ...] = ()  # replicas that came, the last ones, oldest first

    @property
    def follows(self) -> bool:
        """Whether its number of replicas follows the load."""
        return self.version is not None and self.scaling.floor < self.scaling.ceiling

    @property
    def holds(self) -> bool:
        """Whether a request that finds no replica waits for one: it may have been let go since nobody asked."""
        return self.version is not None and self.scaling.floor == 0

    @property
    def alive(self) -> tuple[Replica, ...]:
        """Replicas of the answering version that take requests or are about to."""
        up = (ReplicaState.STARTING, ReplicaState.READY, ReplicaState.WAKING)
        return tuple(one for one in self.replicas if one.version == self.version and one.state in up)

    @property
    def ready(self) -> tuple[Replica, ...]:
        """Replicas of the answering version that take requests."""
        return tuple(
            replica
            for replica in self.replicas
            if replica.version == self.version and replica.state is ReplicaState.READY
        )
