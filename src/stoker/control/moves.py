"""MoveDesk: machines that belong to two engines go from one to the other. The store holds where each move stands,
so that it goes on after a restart wherever the platform was killed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from stoker.account import Account, Role
from stoker.clock import Clock
from stoker.cluster import Node, Place
from stoker.control.changes import Changes
from stoker.control.drains import DrainDesk
from stoker.control.loop import Dispatcher
from stoker.control.preemption import preempt
from stoker.control.rights import require
from stoker.control.roster import Roster
from stoker.control.sight import Sight, look
from stoker.errors import Away, BadInput, Conflict, NotFound
from stoker.job import JobState
from stoker.node_drain import NodeDrain
from stoker.node_move import MoveState, NodeMove, Step
from stoker.schedule.moves import (
    Action,
    CloseTarget,
    DrainSource,
    End,
    GiveBack,
    OpenTarget,
    Preempt,
    Saw,
    Side,
    Snapshot,
    Undo,
    Wait,
    next_action,
)
from stoker.store.jobs import Filter, JobStore
from stoker.store.moves import KeptMove, MoveStore

log = logging.getLogger(__name__)

ACTIVE = (JobState.STARTING, JobState.RUNNING, JobState.STOPPING)
_MOST_JOBS = 1_000_000
_MOST_ACTIONS = 16  # of one move in one step: a move that goes on and on must not keep the others waiting
_STEP_S = 1.0  # between two looks at moves that are under way
_IDLE_S = 60.0
_LONGEST_S = 30 * 86400.0


@dataclass(frozen=True)
class Terms:
    """What an administrator asks for besides where to."""

    source: str = ""  # the engine it comes from; empty: the one other that has it open
    preempt: bool = False
    within: float | None = None  # seconds
    reason: str = ""
    automatic: bool = False


class MoveDesk:
    """Thread-safe. `advance` is called by the platform's loop alone."""

    def __init__(
        self,
        store: MoveStore,
        jobs: JobStore,
        drains: DrainDesk,
        roster: Roster,
        dispatcher: Dispatcher,
        changes: Changes,
        clock: Clock,
    ) -> None:
        self._store = store
        self._jobs = jobs
        self._drains = drains
        self._roster = roster
        self._dispatcher = dispatcher
        self._changes = changes
        self._clock = clock

    # for people

    def create(self, names: Sequence[str], target: str, who: Account, terms: Terms | None = None) -> list[NodeMove]:
        """Let the machines `names` go to the engine `target`, all or none.

        Raises Denied, NotFound for names and engines, Away, BadInput, and Conflict where a machine is there
        already, is on its way, or was drained by somebody else.
        """
        require(who, Role.ADMIN, "move nodes")
        terms = terms or Terms()
        if terms.within is not None and not 1 <= terms.within <= _LONGEST_S:
            raise BadInput("a move may be given 1 s to 30 days", param="within")
        if not names:
            raise BadInput("no node was named", param="nodes")
        for engine in filter(None, (target, terms.source)):
            if engine not in self._roster:
                raise NotFound.named("engine", engine, self._roster)
            self._drains.check_able(engine)
        sight = self._look()
        drafts = {}
        for name in names:
            draft = self._draft(name, sight, target, who, terms)
            drafts[draft.machine] = draft
        moves = self._store.add(drafts.values())
        self._changes.bump()
        return moves

    def find(self, who: Account, *, everything: bool = False, limit: int = 100) -> list[NodeMove]:
        """Newest first; those that are not over unless `everything` is asked for.

        Whose jobs a move waits for is told to admins alone.
        """
        require(who, Role.VIEWER, "see the moves of nodes")
        found = self._store.find(limit=limit) if everything else [one.move for one in reversed(self._store.going())]
        return [_as_seen(move, who) for move in found]

    def get(self, move_id: int, who: Account) -> NodeMove:
        require(who, Role.VIEWER, "see the moves of nodes")
        return _as_seen(self._store.get(move_id).move, who)

    def undo(self, move_id: int, who: Account) -> NodeMove:
        """Put everything back. Raises NotFound, and Conflict for a move that is over."""
        require(who, Role.ADMIN, "undo the moves of nodes")
        while True:
            kept = self._store.get(move_id)
            if kept.move.state is MoveState.UNDOING:
                return kept.move
            back = kept.move.moved(MoveState.UNDOING, self._clock.now(), f"undone by {who.name}")
            if self._store.save(back, kept.revision):
                self._changes.bump()
                return back

    def moving(self) -> set[str]:
        """Machines that are on their way."""
        return {kept.move.machine for kept in self._store.going()}

    # for the platform's loop

    def advance(self) -> float:
        """Carry every move on as far as it goes now; returns the seconds until that should be done again."""
        going = self._store.going()
        if not going:
            return _IDLE_S
        if self._dispatcher.passed_at:  # else another process dispatches, and moves are its business too
            for kept in going:
                self._carry(kept)
        return _STEP_S

    def _carry(self, kept: KeptMove) -> None:
        for _ in range(_MOST_ACTIONS):
            action = next_action(self._snapshot(kept.move))
            after = self._apply(kept.move, action)
            if after == kept.move or not self._store.save(after, kept.revision):
                return  # it waits, or somebody has just changed it: looked at again in a moment
            if after.state is not kept.move.state:
                log.info("move %d of %s: %s %s", after.id, after.machine, after.state, after.message)
            self._changes.bump()
            kept = KeptMove(after, kept.revision + 1)
            if after.state.final or isinstance(action, Wait):
                return

    def _snapshot(self, move: NodeMove) -> Snapshot:
        # In this order: who holds what is looked up after it is known how far the scheduler has come.
        passed_at = self._dispatcher.passed_at
        sight = self._look()
        jobs = self._jobs.find(Filter(states=ACTIVE), limit=_MOST_JOBS)
        places = sight.of(move.machine) | {move.source, move.target}
        return Snapshot(
            now=self._clock.now(),
            move=move,
            source=self._side(move, move.source, sight),
            target=self._side(move, move.target, sight),
            jobs=jobs,
            others=sight.others,
            places=frozenset(places),
            has_devices=any(sight.nodes[place].devices for place in places if place in sight.nodes),
            passed_at=passed_at,
        )

    def _side(self, move: NodeMove, place: Place, sight: Sight) -> Side:
        mine = self._drains.kept().get(place)
        return Side(
            node=sight.nodes.get(place),
            answered_at=sight.answered_at.get(place.engine, 0.0),
            away=sight.away.get(place.engine, ""),
            removed=place.engine not in self._roster,
            kept_closed=mine is not None and mine.move == move.id,
        )

    def _apply(self, move: NodeMove, action: Action) -> NodeMove:
        """The move after `action`; an engine that is away is waited for."""
        try:
            return self._do(move, action)
        except Away as error:
            return replace(move, waits_for=str(error))

    def _do(self, move: NodeMove, action: Action) -> NodeMove:
        now = self._clock.now()
        match action:
            case Wait(what):
                return replace(move, waits_for=what)
            case Saw(step):
                return move.stepped(step, now)
            case Undo(why):
                return move.moved(MoveState.UNDOING, now, why)
            case End(state, message):
                return move.moved(state, now, message)
            case Preempt(jobs):
                why = f"preempted: its node {move.source.node} moves to {move.target.engine}"
                preempt(self._jobs, jobs, why, now)
                self._dispatcher.wake()
                return move.stepped(Step.PREEMPT, now)
            case DrainSource():
                return self._drain_source(move)
            case OpenTarget():
                return self._open_target(move)
            case CloseTarget():
                return self._close_target(move)
            case GiveBack():
                return self._give_back(move)

    def _drain_source(self, move: NodeMove) -> NodeMove:
        why = f"moved to {move.target.engine}, move {move.id}"
        drain = NodeDrain(move.source, move.drain_reason, move.who, move.created_at, move.id, why)
        try:
            self._drains.close(drain)
        except (NotFound, Conflict) as error:
            return move.moved(MoveState.UNDOING, self._clock.now(), str(error))
        return move.stepped(Step.DRAIN, self._clock.now())

    def _open_target(self, move: NodeMove) -> NodeMove:
        """First it is written down that the target may be open from now on; then it is told."""
        now = self._clock.now()
        if move.state is MoveState.DRAINING:
            return move.moved(MoveState.OPENING, now).stepped(Step.OPEN, now)
        assert move.parked is not None  # noqa: S101  # a target that was not ours to open is not opened
        try:
            self._drains.open(move.parked)
        except (NotFound, Conflict) as refused:  # it was not opened, so nothing is to be closed again
            return move.without(Step.OPEN).moved(MoveState.UNDOING, now, str(refused))
        return move.stepped(Step.OPENED, self._clock.now())

    def _close_target(self, move: NodeMove) -> NodeMove:
        assert move.parked is not None  # noqa: S101  # as above
        try:
            self._drains.close(move.parked)
        except (NotFound, Conflict) as error:
            log.warning("move %d: %s", move.id, error)  # the next look tells whether it is open
        return move.stepped(Step.CLOSE, self._clock.now())

    def _give_back(self, move: NodeMove) -> NodeMove:
        mine = self._drains.kept()[move.source]
        message = move.message
        try:
            self._drains.open(mine)
        except (NotFound, Conflict) as error:  # somebody else's by now, or gone
            self._drains.drop(mine)
            message = f"{message}; left as it is on {move.source.engine}: {error}"
        return replace(move, message=message).stepped(Step.GIVEN_BACK, self._clock.now())

    def _look(self) -> Sight:
        return look(self._roster, self._dispatcher, self._clock)

    def _draft(self, name: str, sight: Sight, target: str, who: Account, terms: Terms) -> NodeMove:
        nodes = sight.machine(name)
        source, there = _sides(name, nodes, target, terms.source)
        for node in (source, there):
            if why := sight.away.get(node.engine):
                raise Away(f"{node.engine} is away: {why}")
        kept = self._drains.kept()
        parked = kept.get(there.place)
        if not source.schedulable or source.place in kept:
            told = kept[source.place].why if source.place in kept else source.reason
            raise Conflict(
                f"{name} takes no work on {source.engine}: {told or 'no reason is told'}; let it do so first"
            )
        if not there.schedulable and parked is None:
            raise Conflict(
                f"{name} was drained on {target} by somebody else: {there.reason or 'no reason is told'};"
                " a move does not undo that"
            )
        now = self._clock.now()
        return NodeMove(
            id=0,
            machine=source.machine,
            source=source.place,
            target=there.place,
            state=MoveState.DRAINING,
            who=who.name,
            created_at=now,
            drain_reason=f"move {{id}} to {target}",
            reason=" ".join(terms.reason.split())[:200],
            preempt=terms.preempt,
            deadline=None if terms.within is None else now + terms.within,
            both_open=there.schedulable and parked is None,
            parked=parked,
            automatic=terms.automatic,
        )


def _as_seen(move: NodeMove, who: Account) -> NodeMove:
    return move if who.role is Role.ADMIN else replace(move, waits_for="", message="")


def _sides(name: str, nodes: Sequence[Node], target: str, source: str) -> tuple[Node, Node]:
    """Of one machine's nodes the one it comes from and the one it goes to."""
    there = [node for node in nodes if node.engine == target]
    elsewhere = [node for node in nodes if node.engine != target and source in ("", node.engine)]
    if not there:
        known = ", ".join(node.engine for node in nodes)
        raise Conflict(f"{name} does not belong to {target}, only to {known}; add it there first")
    if not elsewhere:
        raise Conflict(f"{name} belongs to no {f'engine {source}' if source else 'other engine'}")
    if len(there) > 1 or len({node.engine for node in elsewhere}) < len(elsewhere):
        raise Conflict(f"{name} is several nodes of one engine; a move needs one on each side")
    if len(elsewhere) > 1:
        elsewhere = [node for node in elsewhere if node.schedulable] or elsewhere
        if len(elsewhere) > 1:
            names = " or ".join(sorted(node.engine for node in elsewhere))
            raise Conflict(f"{name} belongs to several engines; say which it leaves: --from {names}")
    return elsewhere[0], there[0]
