"""BalanceDesk: policies by which machines go from one engine to another by themselves."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from itertools import islice

from stoker.account import Account, Role
from stoker.balance import Balance, BalanceReport
from stoker.clock import Clock
from stoker.control.changes import Changes
from stoker.control.drains import DrainDesk
from stoker.control.loop import Dispatcher
from stoker.control.moves import ACTIVE, MoveDesk, Terms
from stoker.control.rights import platform, require
from stoker.control.roster import Roster
from stoker.errors import NotFound, StokerError
from stoker.job import JobState
from stoker.node_move import NodeMove
from stoker.schedule.balance import Decision, Snapshot, decide
from stoker.store.balances import BalanceStore
from stoker.store.jobs import Filter, JobStore

log = logging.getLogger(__name__)

_STEP_S = 5.0  # between two looks while there is a policy
_IDLE_S = 60.0
_FOR_ROOM = ("Resources", "Priority", "ReqNodeNotAvail")  # why jobs wait that more machines would help
_MOST_JOBS = 100_000
_MOST_WAITING = 2000  # the first ones: no shortage of more is answered at once
_MOST_MOVES = 1000  # looked back at
_BALANCE = platform("", "balance")


class BalanceDesk:
    """Thread-safe. `advance` is called by the platform's loop alone."""

    def __init__(
        self,
        store: BalanceStore,
        jobs: JobStore,
        moves: MoveDesk,
        drains: DrainDesk,
        roster: Roster,
        dispatcher: Dispatcher,
        changes: Changes,
        clock: Clock,
    ) -> None:
        self._store = store
        self._jobs = jobs
        self._moves = moves
        self._drains = drains
        self._roster = roster
        self._dispatcher = dispatcher
        self._changes = changes
        self._clock = clock
        self._last: Mapping[str, Decision] = {}  # by pair; lost with a restart: patience then begins anew

    def put(self, balance: Balance, who: Account) -> BalanceReport:
        """Set the policy of a pair of engines. Raises Denied, NotFound for engines, BadInput."""
        require(who, Role.ADMIN, "set automatic moves")
        for engine in balance.engines:
            if engine not in self._roster:
                raise NotFound.named("engine", engine, self._roster)
            self._drains.check_able(engine)
        self._store.put(balance)
        self._changes.bump()
        return self._report(balance)

    def remove(self, first: str, second: str, who: Account) -> None:
        """Moves under way go on. Raises NotFound."""
        require(who, Role.ADMIN, "set automatic moves")
        if not self._store.remove(" ".join(sorted((first, second)))):
            raise NotFound(f"no automatic moves between {first} and {second}; see: stoker nodes balance")

    def find(self, who: Account) -> list[BalanceReport]:
        require(who, Role.VIEWER, "see automatic moves")
        return [self._report(balance) for balance in self._store.all()]

    def advance(self) -> float:
        """Begin the moves that are due; returns the seconds until that should be looked at again."""
        policies = self._store.all()
        if not policies:
            return _IDLE_S
        if self._dispatcher.passed_at:
            self._last = {policy.pair: self._decide(policy) for policy in policies}
        return _STEP_S

    def _decide(self, policy: Balance) -> Decision:
        before = self._last.get(policy.pair, Decision())
        decision = decide(self._snapshot(policy, before))
        if decision.machines:
            terms = Terms(
                source=policy.other(decision.target),
                within=policy.within,
                reason=f"{decision.short[decision.target]} devices are waited for there",
                automatic=True,
            )
            try:
                self._moves.create(decision.machines, decision.target, _BALANCE, terms)
            except StokerError as error:  # somebody was quicker, or an engine has just gone away
                log.warning("automatic move of %s: %s", ", ".join(decision.machines), error)
        return decision

    def _snapshot(self, policy: Balance, before: Decision) -> Snapshot:
        now = self._clock.now()
        waits = islice(
            (job for job, wait in self._dispatcher.waits.items() if wait.reason in _FOR_ROOM), _MOST_WAITING
        )
        waiting = [job for job in self._jobs.by_ids(list(waits)) if job.state is JobState.PENDING]
        return Snapshot(
            now=now,
            policy=policy,
            nodes=self._dispatcher.nodes(),
            waiting=sorted(waiting, key=lambda job: (-job.spec.priority, job.id)),
            active=self._jobs.find(Filter(states=ACTIVE), limit=_MOST_JOBS),
            others=self._dispatcher.others(),
            kept=self._drains.kept(),
            moves=[move for move in self._lately() if _counts(move, now - policy.cool_down)],
            away=frozenset(self._dispatcher.away),
            since=before.since,
        )

    def _lately(self) -> list[NodeMove]:
        return self._moves.find(_BALANCE, everything=True, limit=_MOST_MOVES)

    def _report(self, balance: Balance) -> BalanceReport:
        last = self._last.get(balance.pair, Decision())
        return BalanceReport(balance, open=last.open, short=last.short, since=last.since)


def _counts(move: NodeMove, since: float) -> bool:
    return not move.state.final or (move.ended_at or 0.0) >= since
