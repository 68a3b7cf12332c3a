"""What a move of a machine does next. Pure: how everything looks in, one action out.

Two rules hold whatever answers come, in whatever order, and wherever the platform is killed:
- The target is opened only after the source was seen closed, and nothing holds the machine in an answer that was
  asked for after that. When a move is undone the same holds the other way round.
- An action is safe to repeat, and what it may have done is written down before it is done.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from stoker.cluster import Node, Place
from stoker.foreign import ForeignJob
from stoker.job import Job, JobState
from stoker.node_move import MoveState, NodeMove, Step
from stoker.units import format_duration

# A scheduler that had decided just before may still be at it: Kubernetes' binds without looking at the node again.
SETTLING_SECONDS = 3.0
OPENING_SECONDS = 300.0  # after which a target that was told to take work and does not show it has failed
_NAMED = 3  # jobs that a message names


@dataclass(frozen=True)
class Side:
    """How one engine shows the machine."""

    node: Node | None = None  # as the engine itself tells; None: it has no such node
    answered_at: float = 0.0  # when it told so, seconds since the epoch
    away: str = ""  # why it does not answer now; then the rest is what it said last
    removed: bool = False  # there is no such engine any more
    kept_closed: bool = False  # we keep a drain of it

    @property
    def open(self) -> bool:
        return self.node is not None and self.node.schedulable


@dataclass(frozen=True)
class Snapshot:
    """Everything a decision may depend on, as of one moment."""

    now: float
    move: NodeMove
    source: Side
    target: Side
    jobs: Sequence[Job] = ()  # ours that are handed over, wherever they are
    others: Sequence[ForeignJob] = ()
    places: frozenset[Place] = frozenset()  # the machine in every engine that knows it
    has_devices: bool = True
    passed_at: float = 0.0  # when the last finished pass of the scheduler began


@dataclass(frozen=True)
class DrainSource:
    pass


@dataclass(frozen=True)
class Saw:
    step: Step


@dataclass(frozen=True)
class Preempt:
    jobs: tuple[int, ...]


@dataclass(frozen=True)
class OpenTarget:
    pass


@dataclass(frozen=True)
class CloseTarget:
    pass


@dataclass(frozen=True)
class GiveBack:
    """Let the source take work again, and drop our drain of it."""


@dataclass(frozen=True)
class Undo:
    why: str


@dataclass(frozen=True)
class End:
    state: MoveState
    message: str = ""


@dataclass(frozen=True)
class Wait:
    what: str


Action = DrainSource | Saw | Preempt | OpenTarget | CloseTarget | GiveBack | Undo | End | Wait


def next_action(seen: Snapshot) -> Action:
    """The one next thing to do for a move that is not over."""
    match seen.move.state:
        case MoveState.DRAINING:
            return _failure(seen) or _drain(seen) or _make_room(seen, _concerned(seen)) or _hand_over(seen)
        case MoveState.OPENING:
            return _failure(seen) or _open(seen)
        case MoveState.UNDOING:
            return _close(seen) or _give_back(seen)
        case _:
            raise ValueError(f"move {seen.move.id} is over")


def holders(
    places: frozenset[Place], jobs: Iterable[Job], others: Iterable[ForeignJob], *, has_devices: bool
) -> tuple[list[Job], list[ForeignJob]]:
    """Who is on a machine: every active job of ours, and of others who holds its devices.

    What others run there without devices, such as the daemons of every Kubernetes node, is in nobody's way, unless
    the machine has no devices at all: then whoever holds CPUs or memory counts.
    """
    ours = [job for job in jobs if any(Place(job.engine, one.node) in places for one in job.placements)]
    foreign = [
        other
        for other in others
        if any(
            Place(other.engine, held.node) in places
            and (held.devices or (not has_devices and (held.cpus or held.memory)))
            for held in other.held
        )
    ]
    return ours, foreign


# Before the target is opened


def _failure(seen: Snapshot) -> Undo | None:
    """What makes going on impossible; an engine that is away may come back, so it is waited for."""
    move = seen.move
    for side, place in ((seen.source, move.source), (seen.target, move.target)):
        if side.removed:
            return Undo(f"the engine {place.engine} was removed")
        if side.node is None and not side.away:
            return Undo(f"{place.engine} has no node {place.node} any more")
    if move.deadline is not None and seen.now >= move.deadline:
        patience = format_duration(move.deadline - move.created_at)
        return Undo(f"not done within {patience}" + (f": {move.waits_for}" if move.waits_for else ""))
    if move.took(Step.DRAINED) and seen.source.open and not seen.source.away:
        return Undo(f"somebody else opened it on {move.source.engine}")
    return None


def _drain(seen: Snapshot) -> Action | None:
    """None once the source shows the machine closed, and has been asked once more since."""
    move, source = seen.move, seen.source
    if away := _away(seen):
        return away
    if not move.took(Step.DRAIN):
        return DrainSource()
    if source.open:
        heard = source.answered_at > move.steps[Step.DRAIN]
        return DrainSource() if heard else Wait(f"{move.source.engine} is to show it drained")
    return None if move.took(Step.DRAINED) else Saw(Step.DRAINED)


def _make_room(seen: Snapshot, places: frozenset[Place]) -> Action | None:
    """None when nobody is on the machine; jobs of ours that may be requeued are asked to go, where told so."""
    ours, foreign = holders(places, seen.jobs, seen.others, has_devices=seen.has_devices)
    movable = [job.id for job in ours if job.spec.returns and job.state is not JobState.STOPPING]
    if seen.move.preempt and movable:
        return Preempt(tuple(movable))
    if ours or foreign:
        return Wait(_named(ours, foreign))
    return None


def _hand_over(seen: Snapshot) -> Action:
    move = seen.move
    if not _sure(seen, Step.DRAIN, seen.source, Step.DRAINED) or seen.target.answered_at <= move.steps[Step.DRAIN]:
        return Wait(f"{move.source.engine} is asked once more whether it is free")
    if not move.both_open:
        return OpenTarget()
    return End(MoveState.DONE) if seen.target.open else Undo(f"somebody else closed it on {move.target.engine}")


def _open(seen: Snapshot) -> Action:
    """The target is being told; it was free when that began, and its source has been closed ever since."""
    move = seen.move
    if seen.now >= move.steps[Step.OPEN] + OPENING_SECONDS:
        shown = seen.target.away or (seen.target.node.reason if seen.target.node else "")
        told = f" ({shown})" if shown else ""
        return Undo(f"{move.target.engine} did not take it within {format_duration(OPENING_SECONDS)}{told}")
    if away := _away(seen):
        return away
    if not move.took(Step.OPENED):
        return _make_room(seen, _concerned(seen)) or OpenTarget()
    return End(MoveState.DONE) if seen.target.open else Wait(f"{move.target.engine} is to show it open")


# Back again


def _close(seen: Snapshot) -> Action | None:
    """None once the target is closed and nobody is on the machine, or where it was never opened."""
    move, target = seen.move, seen.target
    if not move.took(Step.OPEN):
        return None
    if target.removed:
        left = (
            f"it may be open on {move.target.engine}, which was removed, and stays closed on {move.source.engine}"
        )
        return End(MoveState.FAILED, f"{move.message}; {left}: look, then stoker nodes undrain {move.machine}")
    if target.away:
        return Wait(f"{move.target.engine} is away: {target.away}")
    if target.node is None:
        return None
    if not move.took(Step.CLOSE):
        return CloseTarget()
    if target.open:
        heard = target.answered_at > move.steps[Step.CLOSE]
        return CloseTarget() if heard else Wait(f"{move.target.engine} is to show it drained")
    if not move.took(Step.CLOSED):
        return Saw(Step.CLOSED)
    if room := _make_room(seen, seen.places):
        return room
    if not _sure(seen, Step.CLOSE, target, Step.CLOSED):
        return Wait(f"{move.target.engine} is asked once more whether it is free")
    return None


def _give_back(seen: Snapshot) -> Action:
    if not seen.source.kept_closed:
        return End(MoveState.UNDONE)
    if seen.source.away:
        return Wait(f"{seen.move.source.engine} is away: {seen.source.away}")
    return GiveBack()


# What both ways share


def _away(seen: Snapshot) -> Wait | None:
    for side, place in ((seen.source, seen.move.source), (seen.target, seen.move.target)):
        if side.away:
            return Wait(f"{place.engine} is away: {side.away}")
    return None


def _sure(seen: Snapshot, told: Step, side: Side, shown: Step) -> bool:
    """Whether what is seen was asked for after the side had closed: before that a job may have slipped in."""
    steps = seen.move.steps
    return side.answered_at > steps[shown] + SETTLING_SECONDS and seen.passed_at > steps[told]


def _concerned(seen: Snapshot) -> frozenset[Place]:
    """Where nobody may be. What the target runs on a machine that it had open all the time may stay."""
    return frozenset({seen.move.source}) if seen.move.both_open else seen.places


def _named(ours: Sequence[Job], foreign: Sequence[ForeignJob]) -> str:
    names = [f"job {job.label} of {job.owner}" for job in ours]
    names += [f"{other.engine} job {other.id}" + (f" of {other.owner}" if other.owner else "") for other in foreign]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"held by {', '.join(names[:_NAMED])}{more}"
