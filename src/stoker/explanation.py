"""Explanation: why a job waits, what would start it, who is in its way, and when it will start.

It holds codes and values and no sentences: the command line and the console word it in the reader's language.
A value's name tells its unit: ``..._s`` seconds, ``..._at`` seconds since the epoch, ``..._bytes`` bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

Value = int | float | str


class Cause(StrEnum):
    """Why a job waits. Each waiting job has exactly one."""

    STARTING = "starting"  # nothing keeps it: it starts with the next pass
    UNDECIDED = "undecided"  # no pass of this process has looked at it
    DEPENDENCY = "dependency"
    BEGIN_TIME = "begin_time"
    ARRAY_LIMIT = "array_limit"
    QUOTA = "quota"  # a quota or limit of its queue, tenant or user
    PREEMPTING = "preempting"  # others are being ended for it
    ENGINE_AWAY = "engine_away"
    NEVER = "never"  # no node there is could ever hold it
    DRAINED = "drained"  # the nodes that could hold it take no new work
    TAINTS = "taints"  # the nodes that could hold it are kept for jobs that tolerate their taints
    FAILED_DEVICES = "failed_devices"  # the nodes that could hold it have devices that failed
    RESERVATION = "reservation"  # there is room, kept free for a job ahead of it
    PRIORITY = "priority"  # there is room, and those ahead take it
    TOPOLOGY = "topology"  # enough is free, but not close enough together
    FRAGMENTATION = "fragmentation"  # enough is free in total, but in slivers, or without CPUs or memory beside it
    RESOURCES = "resources"  # too little is free


# Causes that asking differently may overcome.
FOR_ROOM = frozenset(
    {
        Cause.NEVER, Cause.DRAINED, Cause.TAINTS, Cause.FAILED_DEVICES, Cause.TOPOLOGY, Cause.FRAGMENTATION,
        Cause.RESOURCES, Cause.ENGINE_AWAY, Cause.RESERVATION, Cause.PRIORITY, Cause.QUOTA,
    }
)  # fmt: skip


class Refusal(StrEnum):
    """What a node lacks for one node's part of a job. Each node counts under exactly one, the first that holds."""

    AWAY = "away"  # its engine does not answer
    ELSEWHERE = "elsewhere"  # the job asks for another engine or site, or for what this one cannot do
    TAINT = "taint"
    MODEL = "model"  # no device of a model it accepts
    FAILED = "failed"  # enough devices, but some of them failed
    SMALL = "small"  # would not hold it even when empty
    DRAINED = "drained"
    DEVICES = "devices"  # too few devices are free
    CPUS = "cpus"  # enough devices are free, too few CPUs
    MEMORY = "memory"
    SLOTS = "slots"  # as many jobs run there as may
    OCCUPIED = "occupied"  # it wants the whole node, and something runs there
    TOPOLOGY = "topology"  # enough devices are free, and not joined as the job asks
    RESERVED = "reserved"  # it is free, and kept for a job ahead
    FREE = "free"  # it could go here: only other nodes of its gang are missing


class ChangeKind(StrEnum):
    """What of a job could be asked differently."""

    SHORTER = "shorter"  # time limit: it fits in before a reservation
    TOLERATE = "tolerate"
    MODEL = "model"
    QUEUE = "queue"
    QUEUE_LATER = "queue_later"  # it waits there, too, but not as long
    ENGINE = "engine"  # any engine or site
    CPUS = "cpus"
    MEMORY = "memory"
    SHARED = "shared"  # no whole nodes
    DEVICES = "devices"  # fewer on each node
    NODES = "nodes"
    PRIORITY = "priority"
    ARRAY = "array"  # more of its array at once
    TOPOLOGY = "topology"  # devices further apart
    WAIT = "wait"  # nothing changes but time: by then what runs has ended at its limit


@dataclass(frozen=True)
class Because:
    """The cause, and what belongs into its sentence."""

    cause: Cause
    values: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class Change:
    """One change with which deciding anew starts the job, now or sooner; that was tried, not guessed."""

    kind: ChangeKind
    values: Mapping[str, Value]
    weight: float  # how much it changes, 0 to 1: the least first
    where: tuple[str, ...] = ()  # nodes on which it started


@dataclass(frozen=True)
class Holder:
    """Who holds something on a node that the job could use. What the reader may not know is empty."""

    job: str  # as people name it; of another engine's job its id there
    name: str
    owner: str
    tenant: str
    devices: int  # that it holds on those nodes
    cpus: int
    until: float | None  # when it ends at the latest; None: it has no time limit, or nobody knows
    engine: str = ""  # of jobs that were given to an engine without us
    hidden: bool = False


class Shield(StrEnum):
    """What keeps a running job from being ended for one that waits. Each job counts under the first that holds."""

    POLICY = "policy"  # the policy ends nobody for others
    JOB = "job"  # it is not preemptible
    QUEUE = "queue"  # its queue lets none of its jobs be ended, or none for other queues
    PRIORITY = "priority"  # of the same queue, and its priority is not lower
    TURN = "turn"  # of the same queue and priority, and its turn is not over
    RIGHT = "right"  # of another queue, and with the waiting job its own queue would hold more than it deserves
    BORROWED = "borrowed"  # of another queue, which has not borrowed what it holds
    TIME = "time"  # it has not run for its minimal time


@dataclass(frozen=True)
class Victim:
    """Who is, or would be, ended for a waiting job, and what of its work is lost with it."""

    job: str
    name: str
    owner: str
    tenant: str
    devices: int
    cpus: int
    rests_on: str  # what the loss rests on: a `schedule.victims.Loss`
    lost_s: float
    hidden: bool = False


@dataclass(frozen=True)
class Shielded:
    """Jobs in the way that may not be ended for it."""

    shield: Shield
    count: int
    left_s: float = 0.0  # of TIME: until the first may be ended


@dataclass(frozen=True)
class Ending:
    """How a waiting job starts, or could, by ending others: the victims, or else what protects those in the way."""

    victims: tuple[Victim, ...] = ()
    begun: bool = False  # they are being ended, or the last pass decided to
    left_s: float = 0.0  # until all of the victims have run for their minimal time
    endable: int = 0  # without victims: so many may be ended, and that is not enough
    shielded: tuple[Shielded, ...] = ()


@dataclass(frozen=True)
class Ahead:
    """A waiting job that goes first and wants nodes that this one could use."""

    job: str
    name: str
    owner: str
    tenant: str
    priority: int
    devices: int
    nodes: int
    hidden: bool = False


@dataclass(frozen=True)
class Standing:
    """The place in line."""

    ahead: int = 0  # waiting jobs that go first
    rivals: int = 0  # those of them that want nodes this one could use
    first: tuple[Ahead, ...] = ()  # the first of the rivals


@dataclass(frozen=True)
class Accuracy:
    """How predictions made so far compare with what came: real over predicted waiting, as quantiles."""

    count: int = 0
    low: float | None = None  # a tenth of the jobs waited less than this share of what was predicted
    middle: float | None = None
    high: float | None = None  # a tenth waited longer


@dataclass(frozen=True)
class Forecast:
    """When it starts, as far as anybody can tell. `at` None: unknown, and `why` says why."""

    at: float | None = None
    latest: float | None = None  # if all that runs uses its whole time limit
    low: float | None = None  # eight of ten start between `low` and `high`, by `accuracy`; None: not measured yet
    high: float | None = None
    why: str = ""  # code: "endless" (it hangs on a job without a time limit), "blocked" (time alone does not help)
    learnt: int = 0  # ended jobs from which the running times were learnt
    accuracy: Accuracy = field(default_factory=Accuracy)


@dataclass(frozen=True)
class NodeRefusal:
    """One node, and what it lacks."""

    node: str
    engine: str
    refusal: Refusal
    free: int = 0  # devices it could use now, of the models it accepts
    devices: int = 0  # devices of those models, failed ones included
    failed: int = 0
    cpus: int = 0  # free now
    memory: int = 0  # bytes free now
    why: str = ""  # of a drained node or an engine that is away


@dataclass(frozen=True)
class Explanation:
    job: str
    name: str
    at: float  # the moment it describes
    since: float  # submitted
    because: Because
    changes: tuple[Change, ...] = ()
    holders: tuple[Holder, ...] = ()
    more_holders: int = 0  # further ones
    ending: Ending | None = None  # None: that is no question of ending others
    line: Standing = field(default_factory=Standing)
    forecast: Forecast = field(default_factory=Forecast)
    must_begin: float | None = None  # the last moment at which it keeps its deadline; None: it has none
    refusals: Mapping[Refusal, int] = field(default_factory=dict)  # how many nodes lack what
    nodes: tuple[NodeRefusal, ...] = ()  # only where they were asked for

    @property
    def at_once(self) -> tuple[Change, ...]:
        """The changes that start it now."""
        return tuple(one for one in self.changes if one.kind not in (ChangeKind.WAIT, ChangeKind.QUEUE_LATER))

    @property
    def sooner(self) -> tuple[Change, ...]:
        """The changes with which it is predicted to start sooner."""
        return tuple(one for one in self.changes if one.kind is ChangeKind.QUEUE_LATER)

    @property
    def waiting_helps(self) -> bool:
        """Whether it was tried that it starts at `forecast.latest` if nothing else changes."""
        return any(one.kind is ChangeKind.WAIT for one in self.changes)
