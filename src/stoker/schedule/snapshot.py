"""What a scheduler sees and says. Plain values: the same snapshot always gives the same plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from stoker.cluster import Node
from stoker.foreign import ForeignJob
from stoker.job import Job, JobState, Placement
from stoker.queue import Queue, Usage
from stoker.schedule.lifetimes import Lifetimes
from stoker.schedule.mix import Mix, usual_mix
from stoker.schedule.policy import Policy
from stoker.schedule.speed import Speeds


@dataclass(frozen=True)
class Snapshot:
    """Everything a decision may depend on, as of one moment."""

    now: float
    nodes: Sequence[Node]
    pending: Sequence[Job]
    active: Sequence[Job]  # starting, running or stopping: they hold their placements
    # State of each job that a pending one depends on; for the id of an array those of all its jobs.
    depended: Mapping[int, tuple[JobState, ...]] = field(default_factory=dict)
    away: Mapping[str, str] = field(default_factory=dict)  # engine -> why it does not answer
    others: Sequence[ForeignJob] = ()  # what was given to the engines without us
    mix: Mix = field(default_factory=usual_mix)  # which jobs are likely to come
    policy: Policy = field(default_factory=Policy)
    speeds: Speeds = field(default_factory=dict)  # how fast jobs are expected to be, by model in small letters
    lifetimes: Lifetimes = field(default_factory=Lifetimes)  # how long jobs are likely to run
    served: Mapping[int, float] = field(default_factory=dict)  # job -> seconds that its earlier attempts ran
    queues: Sequence[Queue] = ()  # none: one line for all, by priority and then first come
    usage: Usage = field(default_factory=dict)  # what was used of late, as of `now`, by queue and user
    credit: Mapping[str, float] = field(default_factory=dict)  # queue -> device-seconds that it is owed
    # Job that came back -> since when it waits again; that is being ended -> since when.
    since: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Start:
    job: Job
    engine: str
    placements: tuple[Placement, ...]


@dataclass(frozen=True)
class Preempt:
    """Jobs that are ended so that `job` gets in; what they free, with what is free already, is kept for it."""

    job: Job
    engine: str
    placements: tuple[Placement, ...]  # where it would start if everything else stayed as it is
    victims: tuple[Job, ...]
    cost: float  # device-seconds of work that are lost, and that the victims' places in the order are worth


@dataclass(frozen=True)
class Relocate:
    """A running job that is ended here and starts again there at once: its room there is kept for it."""

    job: Job
    engine: str
    placements: tuple[Placement, ...]  # where it would start if everything else stayed as it is
    room_for: Job  # who gets in by that; itself when it grows
    cost: float  # device-seconds of work that are lost
    buys: str  # what that is for, in one line


class Wait(NamedTuple):
    """Why a job does not start now. `reason` is Slurm's word where there is one. A tuple: there are many."""

    reason: str
    message: str
    values: Mapping[str, str | float] = MappingProxyType({})  # what the message rests on, for other languages


class Reserved(NamedTuple):
    """What is kept for a job that waits: from when at the latest, and where."""

    at: float  # seconds since the epoch; infinite when it hangs on a job without a time limit
    engine: str
    placements: tuple[Placement, ...]


@dataclass(frozen=True)
class Plan:
    starts: Sequence[Start] = ()
    fails: Mapping[int, Wait] = field(default_factory=dict)  # job id -> why it can never start
    waits: Mapping[int, Wait] = field(default_factory=dict)  # job id -> why not yet
    wake_at: float | None = None  # the next moment at which time alone changes the answer
    reserved: Mapping[int, Reserved] = field(default_factory=dict)  # job id -> what is kept for it
    preempts: Sequence[Preempt] = ()
    moves: Sequence[Relocate] = ()
