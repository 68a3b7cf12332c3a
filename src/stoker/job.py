"""Job: a gang of tasks that needs devices. Everything that runs is one, and one table says how its state moves."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from stoker.errors import BadInput, Conflict
from stoker.topology import ANYWHERE, Topology
from stoker.typed import strict

# What a job may be told to save itself by. SIGTERM comes after it anyway.
SIGNALS = ("USR1", "USR2", "HUP", "INT", "QUIT", "ALRM", "CONT", "WINCH", "URG")
_NAME = re.compile(r"^[^\x00-\x1f\x7f/\\'\"`$]{1,128}$")


class JobKind(StrEnum):
    TASK = "task"
    SERVICE = "service"
    NOTEBOOK = "notebook"


class JobState(StrEnum):
    """Where a job is. The two letters are squeue's, which people's scripts already know."""

    PENDING = "pending"  # PD
    STARTING = "starting"  # CF: decided and recorded; the engine is being told
    RUNNING = "running"  # R
    STOPPING = "stopping"  # CG: cancelled or out of time; the processes are being ended
    SUCCEEDED = "succeeded"  # CD
    FAILED = "failed"  # F
    CANCELLED = "cancelled"  # CA
    TIMEOUT = "timeout"  # TO
    OUT_OF_MEMORY = "out_of_memory"  # OOM
    NODE_FAIL = "node_fail"  # NF: the machine or the job's supervisor died under it
    PREEMPTED = "preempted"  # PR: its devices were given to somebody more important

    @property
    def code(self) -> str:
        return _CODES[self]

    @property
    def final(self) -> bool:
        return self in FINAL


_CODES = {
    JobState.PENDING: "PD", JobState.STARTING: "CF", JobState.RUNNING: "R", JobState.STOPPING: "CG",
    JobState.SUCCEEDED: "CD", JobState.FAILED: "F", JobState.CANCELLED: "CA", JobState.TIMEOUT: "TO",
    JobState.OUT_OF_MEMORY: "OOM", JobState.NODE_FAIL: "NF", JobState.PREEMPTED: "PR",
}  # fmt: skip

FINAL = frozenset(
    {
        JobState.SUCCEEDED,
        JobState.FAILED,
        JobState.CANCELLED,
        JobState.TIMEOUT,
        JobState.OUT_OF_MEMORY,
        JobState.NODE_FAIL,
        JobState.PREEMPTED,
    }
)

# From each state, the states it may lawfully become. A retry or requeue is a move back to PENDING.
MOVES: Mapping[JobState, frozenset[JobState]] = {
    JobState.PENDING: frozenset({JobState.STARTING, JobState.CANCELLED, JobState.FAILED}),
    JobState.STARTING: frozenset({JobState.RUNNING, JobState.STOPPING, JobState.PENDING}) | FINAL,
    JobState.RUNNING: frozenset({JobState.STOPPING, JobState.PENDING}) | FINAL,
    # To itself: what is being taken back to be placed anew may be cancelled meanwhile.
    JobState.STOPPING: frozenset({JobState.STOPPING, JobState.PENDING}) | FINAL,
    **{state: frozenset() for state in FINAL},
}


def check_move(old: JobState, new: JobState) -> None:
    if new not in MOVES[old]:
        raise Conflict(f"a {old} job cannot become {new}")


@strict
@dataclass(frozen=True)
class Resources:
    """What one node of the job needs."""

    accelerators: int = 0  # how many devices
    models: tuple[str, ...] = ()  # acceptable models, any when empty: ("H100", "H20")
    milli: int = 1000  # thousandths of each device; below 1000 the device is shared
    cpus: int = 1
    memory: int = 0  # bytes; 0 asks for no particular amount

    def __post_init__(self) -> None:
        if self.accelerators < 0 or self.cpus < 0 or self.memory < 0:
            raise BadInput("resources cannot be negative")
        if not 1 <= self.milli <= 1000:
            raise BadInput(f"a share of {self.milli}/1000 of a device was asked; allowed is 1 to 1000")


class Condition(StrEnum):
    """What a dependency waits for, in sbatch's words."""

    AFTER = "after"  # has begun
    AFTER_ANY = "afterany"  # has ended, however
    AFTER_OK = "afterok"  # has succeeded
    AFTER_NOT_OK = "afternotok"  # has ended without success


@strict
@dataclass(frozen=True)
class Dependency:
    job: int
    condition: Condition = Condition.AFTER_OK


@strict
@dataclass(frozen=True)
class Mount:
    """A folder of the node that a containerised job sees, like ``--container-mounts`` and Kubernetes' hostPath."""

    source: str  # absolute path on the node; on Kubernetes also ``pvc:NAME``
    target: str  # absolute path in the container
    read_only: bool = False

    def __post_init__(self) -> None:
        if not (self.source.startswith(("/", "pvc:")) and self.target.startswith("/")):
            raise BadInput(
                f'mount "{self.source}:{self.target}" was given; both paths must be absolute', param="mounts"
            )


@strict
@dataclass(frozen=True)
class JobSpec:
    """What a user asks for. Exactly one of `command` (an argument list) and `script` (text with a shebang)."""

    name: str = "job"
    command: tuple[str, ...] = ()
    script: str = ""
    arguments: tuple[str, ...] = ()  # passed to the script
    kind: JobKind = JobKind.TASK
    resources: Resources = field(default_factory=Resources)
    nodes: int = 1
    tasks_per_node: int = 1
    each_node: bool = False  # the command runs on every node, with its rank; else on the first, as under sbatch
    envs: Mapping[str, str] = field(default_factory=dict)
    workdir: str = ""  # empty: the job's own folder
    stdout: str = ""  # path with sbatch's patterns (%j %x %A %a %N %u); empty: kept by the platform
    stderr: str = ""  # empty: joins stdout
    priority: int = 50  # 0 to 100
    queue: str = ""
    account: str = ""
    qos: str = ""
    time_limit: float | None = None  # seconds
    deadline: float | None = None  # when it should have ended, seconds since the epoch
    grace: float = 30.0  # seconds between SIGTERM and SIGKILL
    retries: int = 0  # runs again after a failure, at most so often
    requeue: bool = False  # runs again when the node or the platform took it away
    preemptible: bool = False  # may be ended for what is more important; it runs again, as with `requeue`
    min_runtime: float | None = None  # seconds that it is left alone once it runs; None: as the policy has it
    checkpoint_signal: str = ""  # sent before it is preempted or out of time, such as USR1
    checkpoint_lead: float = 60.0  # seconds between that signal and SIGTERM
    checkpoint_every: float | None = None  # seconds between its checkpoints, where that is known
    min_nodes: int = 0  # elastic: it runs on so many nodes at least, and on `nodes` at most; 0: on `nodes`
    array: tuple[int, ...] = ()  # one job per index
    array_limit: int = 0  # how many of the array run at once; 0: all
    depends: tuple[Dependency, ...] = ()
    engine: str = ""  # empty: any engine that fits
    sites: tuple[str, ...] = ()  # acceptable sites of engines, any when empty: ("on-prem", "cloud", "edge")
    tolerations: tuple[str, ...] = ()  # taints of nodes that do not keep it away; "degraded": such devices
    topology: Topology = ANYWHERE  # how close together its nodes and devices are to be
    image: str = ""  # container image; empty: the node's own programs
    mounts: tuple[Mount, ...] = ()
    reservation: str = ""  # Slurm's
    exclusive: bool = False  # whole nodes, whatever of them it asks for
    package: str = ""  # id of an uploaded .tar.gz that is unpacked into the job's folder before it runs
    attached: str = ""  # of the platform's own jobs: its private files that go along
    labels: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not _NAME.match(self.name):
            raise BadInput(
                f"{self.name!r} is no job name: 1 to 128 characters, no slashes, quotes, $ or control characters",
                param="name",
            )
        if bool(self.command) == bool(self.script):
            raise BadInput("a job needs a command or a script, and not both", param="command")
        if not 0 <= self.priority <= 100:
            raise BadInput(f"priority {self.priority} was given; allowed is 0 to 100", param="priority")
        if self.nodes < 1 or self.tasks_per_node < 1:
            raise BadInput("a job needs at least one node and one task on it", param="nodes")
        self._check_preemption()
        if self.time_limit is not None and self.time_limit <= 0:
            raise BadInput("the time limit must be above zero", param="time_limit")
        if any("\x00" in text for text in (*self.command, *self.arguments, *self.envs.values())):
            raise BadInput("arguments and environment values cannot hold NUL characters", param="command")
        if any("=" in name or "\x00" in name or not name for name in self.envs):
            raise BadInput("an environment name cannot be empty or hold = or NUL", param="envs")

    def _check_preemption(self) -> None:
        if self.checkpoint_signal and self.checkpoint_signal not in SIGNALS:
            raise BadInput(
                f'checkpoint_signal "{self.checkpoint_signal}" was given; allowed are {", ".join(SIGNALS)}',
                param="checkpoint_signal",
            )
        seconds = (self.min_runtime or 0.0, self.checkpoint_lead, self.checkpoint_every or 1.0)
        if not all(0 <= value < math.inf for value in seconds) or self.checkpoint_every == 0:
            raise BadInput("min_runtime, checkpoint_lead and checkpoint_every are seconds, not below zero")
        if not 0 <= self.min_nodes <= self.nodes:
            raise BadInput(
                f"min_nodes {self.min_nodes} was given; allowed is 1 to {self.nodes}, the nodes it asks for",
                param="min_nodes",
            )

    @property
    def returns(self) -> bool:
        """Whether it runs again when it was taken away."""
        return self.requeue or self.preemptible

    @property
    def warning(self) -> float:
        """Seconds that it is given to save itself before SIGTERM, when it is not its user who ends it."""
        return self.checkpoint_lead if self.checkpoint_signal else 0.0


@dataclass(frozen=True)
class Placement:
    """Which devices of one node a job holds."""

    node: str
    devices: tuple[int, ...] = ()


@dataclass(frozen=True)
class Job:
    """A job as the store keeps it."""

    id: int
    spec: JobSpec
    tenant: str
    owner: str
    state: JobState
    submitted_at: float
    started_at: float | None = None
    ended_at: float | None = None
    attempt: int = 0  # raised each time it is handed to an engine; 0 before the first
    engine: str = ""
    placements: tuple[Placement, ...] = ()
    exit_code: int | None = None
    reason: str = ""  # one word, Slurm's where there is one: Resources, Priority, Dependency, NonZeroExitCode
    message: str = ""  # one line for people
    array_id: int | None = None  # id of the array's first job
    array_index: int | None = None
    ship: str = ""  # the ship this job is a stage of
    cancel_requested: bool = False
    failures: int = 0  # attempts that failed; compared with spec.retries
    not_before: float | None = None  # a retry waits until then
    gives_way_to: int | None = None  # preempted for this job, whose room is kept until then; cleared at its start
    moves: bool = False  # it was taken away to start elsewhere at once: its room there is kept, too
    checkpointed_at: float | None = None  # of its present attempt, where the job tells

    @property
    def label(self) -> str:
        """How people name it: ``17``, or ``17_3`` for an element of an array."""
        return str(self.id) if self.array_index is None else f"{self.array_id}_{self.array_index}"


@dataclass(frozen=True)
class JobEvent:
    """One line of a job's history."""

    job: int
    at: float
    state: JobState
    reason: str = ""
    message: str = ""
    attempt: int = 0
