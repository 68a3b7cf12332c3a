"""Dispatcher: the loop that brings what was asked and what the engines say together. Load, decide, apply.

It sleeps until something happens: a submission, a cancellation, an engine's news, or a moment it knows in advance.
It alone moves jobs that have been handed over, so engines are spoken to by one thread.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from stoker.clock import Clock
from stoker.cluster import Node, Place
from stoker.control.arrears import Arrears
from stoker.control.changes import Changes
from stoker.control.consumption import Consumption
from stoker.control.ends import after_end
from stoker.control.fleet import Fleet
from stoker.control.ledger import Ledger
from stoker.control.past import Past
from stoker.control.patience import CALLED_BACK, PATIENCE_S, Patience
from stoker.control.preemption import preemptions
from stoker.control.roster import Roster
from stoker.control.saves import EVERY_S, Saves
from stoker.control.speeds import speeds_of
from stoker.engine import Key, Observation, Order
from stoker.errors import StokerError
from stoker.foreign import ForeignJob
from stoker.job import Job, JobKind, JobState
from stoker.node_drain import NodeDrain, with_drains
from stoker.queue import Queue, Usage
from stoker.schedule import Plan, Policy, Pool, Quantity, Snapshot, Start, Wait, decide
from stoker.store.jobs import JobStore, Move
from stoker.store.lease import Lease

_log = logging.getLogger(__name__)
_ASK_SECONDS = 2.0  # how often engines are asked that cannot tell by themselves
_TROUBLE_SECONDS = 2.0  # pause after an engine or the store was away
# Pause after a pass, in lengths of that pass, so that submitters get the processor too: short when all that was
# looked at could start, long when a long queue was looked at for nothing.
_LEAST_BREATH, _LONGEST_BREATH = 1.0, 4.0
_LEASE_SECONDS = 5.0  # how often one that does not lead tries to


class Dispatcher:
    """`waits` says why each pending job waits, as of the last pass."""

    def __init__(
        self,
        store: JobStore,
        roster: Roster,
        lease: Lease,
        changes: Changes,
        clock: Clock,
        drains: Callable[[], Mapping[Place, NodeDrain]] = dict,
        order: Callable[[Job], Order] | None = None,
        queues: Callable[[], Mapping[str, Queue]] = dict,
        consumption: Consumption | None = None,
        placed: Callable[[Iterable[Node]], tuple[Node, ...]] = tuple,
        policy: Callable[[], Policy] = Policy,
        lent: Callable[[], Collection[int]] = tuple,
        arrears: Arrears | None = None,
    ) -> None:
        """`drains`: the nodes that the platform keeps closed, read anew in every pass. `order` makes the order of a
        job that is handed over; None: what the job itself says. `queues` are read anew in every pass as well;
        `consumption` counts what is used of them, `arrears` what they are short of. `placed` lays over the
        nodes what administrators say of where they are. `policy` is read anew in every pass. `lent`: jobs that run
        without their devices, which others may have."""
        self._store = store
        self._drains = drains
        self._placed = placed
        self._kept: Mapping[Place, NodeDrain] = {}
        self._fleet = Fleet(roster, order)
        self._lease = lease
        self._changes = changes
        self._clock = clock
        self._ledger = Ledger(store)
        self._patience = Patience()
        self._pool = Pool()
        self._queues = queues
        self._consumption = consumption
        self._usage: Usage = {}
        self._arrears = arrears
        self._policy = policy
        self._lent = lent
        self._past = Past(store)
        self._saves = Saves(store, roster, clock)
        self._wake = threading.Event()
        self._stopping = False
        self._breath = _LEAST_BREATH
        self._pause = threading.Event()  # set to cut a pause short
        self._thread: threading.Thread | None = None
        self.waits: Mapping[int, Wait] = {}
        self._seen = Snapshot(0.0, (), (), ())  # the pool as the last pass left it
        # That, and what was decided of those that wait there; None: this process decides nothing.
        self.decided: tuple[Snapshot, Plan] | None = None
        self.passed_at = 0.0  # when the last whole pass began; 0 while another process dispatches
        self._fleet.notify(self.wake)
        self._fleet.look(())  # so that what can never run is refused from the first submission on

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Returns when the pass under way has ended."""
        self._stopping = True
        self._pause.set()
        self.wake()
        if self._thread:
            self._thread.join()

    def wake(self) -> None:
        self._wake.set()

    def nodes(self) -> tuple[Node, ...]:
        """What all engines offer, as seen in the last pass."""
        return with_drains(self._placed(self._fleet.nodes()), self._kept)

    @property
    def seen(self) -> Snapshot:
        """The pool as the last pass left it, with what queues are owed by now."""
        return replace(self._seen, credit=self._owed(self._clock.now()))

    def shown(self, engine: str) -> tuple[Node, ...]:
        """The nodes of `engine` as it showed them last, whatever we keep closed."""
        return tuple(node for node in self._fleet.nodes() if node.engine == engine)

    def others(self) -> tuple[ForeignJob, ...]:
        """What was given to the engines without us, as seen in the last pass."""
        return self._fleet.others()

    @property
    def away(self) -> Mapping[str, str]:
        """Engines that do not answer, and why."""
        return self._fleet.away

    def told(self, job: Job) -> Wait | None:
        """What its engine says of an active job beyond its state: why it waits there, or that nobody knows."""
        if why := self._fleet.away.get(job.engine):
            return Wait("EngineAway", f"not known how it is: {job.engine} {why}")
        said = self._fleet.said(job) if job.state is JobState.STARTING else None
        return Wait(said.reason, said.message) if said and said.reason else None

    @property
    def knows_all_nodes(self) -> bool:
        """Whether every engine has told what it offers; before that nothing is called impossible."""
        return self._fleet.complete

    def tick(self) -> float | None:
        """One pass; returns after how many seconds the next is due even if nothing happens."""
        began = self._clock.now()
        if not self._lease.held():
            self.passed_at, self.decided = 0.0, None
            if self._consumption:
                self._consumption.forget()
            if self._arrears:
                self._arrears.forget()
            return _LEASE_SECONDS
        self._kept = self._drains()
        if self._arrears:
            self._arrears.recall()
        self._count_use(began)
        self._ledger.refresh()
        self._fleet.look({job.engine for job in self._ledger.active()})
        self._note_begun()
        self._note_ended()
        self._hand_over_again()
        self._call_back()
        self._end_stopping()
        self._note_saved()
        snapshot = self._snapshot()
        plan = decide(snapshot, self._pool)
        self.waits = plan.waits
        self._apply(plan, snapshot)
        if self._arrears:
            self._arrears.note(snapshot, plan)
        self._breath = _breath(plan)
        self._seen = replace(snapshot, pending=self._ledger.pending(), active=self._holding())
        self.decided = self._seen, replace(plan, starts=(), fails={})
        self.passed_at = began
        return self._next_due(plan)

    def _run(self) -> None:
        due: float | None = 0.0
        while not self._stopping:
            self._wake.wait(due)
            self._wake.clear()
            if self._stopping:
                return
            began = time.monotonic()
            try:
                due = self.tick()
                self._pause.wait(self._breath * (time.monotonic() - began))
            except StokerError as error:
                _log.warning("%s", error)
                due = _TROUBLE_SECONDS
            except Exception:  # noqa: BLE001 -- the outermost loop: one bad pass must not end all scheduling
                _log.exception("a scheduling pass failed")
                due = _TROUBLE_SECONDS

    def _note_begun(self) -> None:
        self._move(
            [
                Move(job, JobState.RUNNING, fields={"started_at": said.started_at})
                for job, said in self._said()
                if job.state is JobState.STARTING and said.started_at
            ]
        )

    def _note_ended(self) -> None:
        now = self._clock.now()
        ended = [(job, said) for job, said in self._said() if said.state.final]
        self._move([after_end(job, self._with_last_word(job, said), now) for job, said in ended])
        self._fleet.settle(self._active)

    def _with_last_word(self, job: Job, said: Observation) -> Observation:
        """Notebooks end by themselves, and say why."""
        if job.spec.kind is not JobKind.NOTEBOOK or said.message or said.state is not JobState.SUCCEEDED:
            return said
        return replace(said, message=self._fleet.last_word(job))

    def _said(self) -> list[tuple[Job, Observation]]:
        """Each active job with what its engine says of it."""
        return [(job, said) for job in self._ledger.active() if (said := self._fleet.said(job)) is not None]

    def _active(self, key: Key) -> bool:
        job = self._ledger.get(key.job)
        return job is not None and job.state is not JobState.PENDING and job.attempt == key.attempt

    def _hand_over_again(self) -> None:
        """What never reached its engine, as after a kill, is handed over; what it has lost has ended."""
        unknown = self._fleet.unknown(self._ledger.active())
        starting = [job for job in unknown if job.state is JobState.STARTING]
        lost = [job for job in unknown if job.state is not JobState.STARTING]
        for job in lost:
            self._fleet.end(job)  # it may be just about to begin
        now = self._clock.now()
        self._move([after_end(job, _lost(job), now) for job in lost])
        self._submit(starting)

    def _call_back(self) -> None:
        """What its engine keeps waiting although there was room is taken back, to be placed where there is some."""
        worn = self._patience.worn(self._said(), self._clock.now())
        self._move([Move(job, JobState.STOPPING, CALLED_BACK, _kept(job, said)) for job, said in worn])

    def _end_stopping(self) -> None:
        for job, said in self._said():
            if job.state is JobState.STOPPING and not said.state.final:
                self._fleet.end(job)

    def _note_saved(self) -> None:
        for job in self._saves.news(self._ledger.active()):
            self._ledger.note(job)

    def _holding(self) -> list[Job]:
        """The active jobs that hold their devices."""
        lent = self._lent()
        return [job for job in self._ledger.active() if job.id not in lent]

    def _count_use(self, now: float) -> None:
        """What was held since the last pass, by those that ran at its end."""
        if self._consumption is not None:
            quantity = Quantity(self._fleet.nodes(), ())
            self._usage = self._consumption.until(now, self._queues(), self._holding(), quantity)

    def _owed(self, now: float) -> Mapping[str, float]:
        """By queue the device-seconds that it was short of and is owed."""
        return self._arrears.at(now) if self._arrears else {}

    def _snapshot(self) -> Snapshot:
        now, policy = self._clock.now(), self._policy()
        pending, active = self._ledger.pending(), self._holding()
        served = self._past.served(policy, (*pending, *active))
        nodes = self.nodes()
        return Snapshot(
            now=now,
            nodes=nodes,
            speeds=speeds_of(nodes),
            pending=pending,
            active=active,
            depended=self._ledger.depended(),
            away=self._fleet.away,
            others=self._fleet.others(),
            mix=self._ledger.mix(),
            queues=tuple(self._queues().values()),
            usage=self._usage,
            credit=self._owed(now),
            since=self._ledger.since(),
            policy=policy,
            lifetimes=self._past.lifetimes(policy, now, (*pending, *active), served),
            served=served,
        )

    def _apply(self, plan: Plan, snapshot: Snapshot) -> None:
        now = self._clock.now()
        fails = [(self._ledger.get(job_id), why) for job_id, why in plan.fails.items()]
        failed = self._move(
            [
                Move(job, JobState.FAILED, why.reason, why.message, {"ended_at": now})
                for job, why in fails
                if job is not None
            ]
        )
        self._submit(self._move([_starting(start) for start in plan.starts]))
        for job in self._move(preemptions(plan, snapshot)):
            self._fleet.end(job)
        if failed:
            self.wake()  # others may have waited for these

    def _submit(self, jobs: Sequence[Job]) -> None:
        now = self._clock.now()
        for name in sorted({job.engine for job in jobs}):
            refused = self._fleet.submit(name, [job for job in jobs if job.engine == name])
            self._move([Move(job, JobState.FAILED, "Refused", why, {"ended_at": now}) for job, why in refused])

    def _move(self, moves: Sequence[Move]) -> list[Job]:
        """Those moves that were not overtaken; the ledger learns of the others with the next refresh."""
        moved = self._store.move(moves, at=self._clock.now())
        for job in moved:
            self._ledger.moved(job)
        if moved:
            self._changes.bump()
        return moved

    def _next_due(self, plan: Plan) -> float | None:
        dues: list[float] = []
        if plan.wake_at is not None:
            dues.append(max(0.0, plan.wake_at - self._clock.now()))
        silent = self._fleet.silent
        if self._fleet.away.keys() & silent:
            dues.append(_TROUBLE_SECONDS)  # the others tell when they are back
        if any(job.state is JobState.STARTING for job in self._ledger.active()):
            dues.append(PATIENCE_S)
        if any(job.engine in silent for job in self._ledger.active()):
            dues.append(_ASK_SECONDS)
        if self._saves.expected(self._ledger.active()):
            dues.append(EVERY_S)
        return min(dues, default=None)


def _breath(plan: Plan) -> float:
    looked_at = len(plan.starts) + len(plan.waits)
    vain = len(plan.waits) / looked_at if looked_at else 0.0
    return _LEAST_BREATH + (_LONGEST_BREATH - _LEAST_BREATH) * vain


def _lost(job: Job) -> Observation:
    return Observation(JobState.NODE_FAIL, reason="NodeFail", message=f"{job.engine} does not know it any more")


def _kept(job: Job, said: Observation) -> str:
    return f"{job.engine} kept it waiting: {said.reason}; it is placed anew"


def _starting(start: Start) -> Move:
    fields = {
        "attempt": start.job.attempt + 1,
        "engine": start.engine,
        "placements": start.placements,
        "not_before": None,
        "gives_way_to": None,
        "moves": False,
        "checkpointed_at": None,
    }
    return Move(start.job, JobState.STARTING, fields=fields)
