"""NodeMove: a machine that belongs to two engines goes from one to the other. One table says how it may."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from stoker.cluster import Place
from stoker.errors import Conflict
from stoker.node_drain import NodeDrain


class MoveState(StrEnum):
    DRAINING = "draining"  # the source takes no new work; what runs there is waited for
    OPENING = "opening"  # the target has been told to take work, or is just about to be
    UNDOING = "undoing"  # everything is being put back
    DONE = "done"
    UNDONE = "undone"  # all is as before; `message` says why
    FAILED = "failed"  # it could not be put back; the machine stays closed and `message` says what to do

    @property
    def final(self) -> bool:
        return not MOVES[self]


MOVES: Mapping[MoveState, frozenset[MoveState]] = {
    MoveState.DRAINING: frozenset({MoveState.OPENING, MoveState.DONE, MoveState.UNDOING}),
    MoveState.OPENING: frozenset({MoveState.DONE, MoveState.UNDOING}),
    MoveState.UNDOING: frozenset({MoveState.UNDONE, MoveState.FAILED}),
    MoveState.DONE: frozenset(),
    MoveState.UNDONE: frozenset(),
    MoveState.FAILED: frozenset(),
}


class Step(StrEnum):
    """What has been done or seen, in this order; the last three only where a move is undone."""

    DRAIN = "drain"  # the source was told to drain
    DRAINED = "drained"  # the source shows it drained
    PREEMPT = "preempt"  # jobs of ours were asked to make room
    OPEN = "open"  # from here on the target may take work, whether or not it was heard
    OPENED = "opened"  # the target was told to take work
    CLOSE = "close"  # the target was told to drain again
    CLOSED = "closed"  # the target shows it drained
    GIVEN_BACK = "given_back"  # the source was told to take work again


@dataclass(frozen=True)
class NodeMove:
    """A move as the store keeps it. While it is not over, the machine has no other."""

    id: int
    machine: str
    source: Place
    target: Place
    state: MoveState
    who: str
    created_at: float  # seconds since the epoch, as all times here
    drain_reason: str  # what the source is told; it names this move alone, so no other drain is taken for ours
    reason: str = ""  # what for, in the words of `who`
    preempt: bool = False  # jobs of ours that may be requeued make room
    deadline: float | None = None  # not done by then: it is undone
    both_open: bool = False  # the target took work already before: nothing is to be opened there
    parked: NodeDrain | None = None  # our drain of the target before; put back when the move is undone
    automatic: bool = False
    steps: Mapping[Step, float] = field(default_factory=dict)  # when each was taken last
    waits_for: str = ""  # what is in its way now
    message: str = ""  # why it was undone
    ended_at: float | None = None

    def took(self, step: Step) -> bool:
        return step in self.steps

    def stepped(self, step: Step, now: float) -> NodeMove:
        return replace(self, steps={**self.steps, step: now})

    def without(self, step: Step) -> NodeMove:
        return replace(self, steps={one: at for one, at in self.steps.items() if one is not step})

    def moved(self, state: MoveState, now: float, message: str = "") -> NodeMove:
        """Raises Conflict for a change of state that the table does not know."""
        if state not in MOVES[self.state]:
            raise Conflict(f"move {self.id} is {self.state} and cannot become {state}")
        ended = now if state.final else None
        return replace(self, state=state, message=message or self.message, waits_for="", ended_at=ended)
