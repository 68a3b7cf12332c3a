"""Dispatcher: the loop that brings what was asked and what the engines say together. Load, decide, apply.

It sleeps until something happens: a submission, a cancellation, an engine's news, or a moment it knows in advance.
It alone moves jobs that have been handed over, so engines are spoken to by one thread.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence

from stoker.clock import Clock
from stoker.cluster import Node
from stoker.control.changes import Changes
from stoker.control.ends import after_end
from stoker.control.ledger import Ledger
from stoker.engine import CanForget, CanNotify, Engine, Key, Observation, Order
from stoker.errors import Away, StokerError
from stoker.job import Job, JobState
from stoker.schedule import Plan, Snapshot, Start, Wait, decide
from stoker.store.jobs import JobStore, Move

_log = logging.getLogger(__name__)
_ASK_SECONDS = 2.0  # how often engines are asked that cannot tell by themselves
_TROUBLE_SECONDS = 2.0  # pause after an engine or the store was away


class Dispatcher:
    """`waits` says why each pending job waits, as of the last pass."""

    def __init__(self, store: JobStore, engines: Sequence[Engine], changes: Changes, clock: Clock) -> None:
        self._store = store
        self._engines = {engine.name: engine for engine in engines}
        self._changes = changes
        self._clock = clock
        self._ledger = Ledger(store)
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._nodes: dict[str, tuple[Node, ...]] = {}
        self._told_to_end: set[Key] = set()
        self.waits: Mapping[int, Wait] = {}
        self.away: dict[str, str] = {}  # engine -> why it does not answer
        for engine in engines:
            if isinstance(engine, CanNotify):
                engine.notify(self.wake)

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping = True
        self.wake()
        if self._thread:
            self._thread.join()

    def wake(self) -> None:
        self._wake.set()

    def nodes(self) -> tuple[Node, ...]:
        """What all engines offer; for one that is away, what it offered last, not schedulable."""
        found: list[Node] = []
        for name, engine in self._engines.items():
            try:
                self._nodes[name] = engine.inventory()
            except Away as error:
                self.away[name] = str(error)
            found += self._nodes.get(name, ())
        return tuple(found)

    def tick(self) -> float | None:
        """One pass; returns after how many seconds the next is due even if nothing happens."""
        self._ledger.refresh()
        seen = self._observe()
        self._apply_observations(seen)
        self._hand_over(seen)
        self._end_stopping(seen)
        plan = decide(self._snapshot())
        self.waits = plan.waits
        self._apply_plan(plan)
        return self._next_due(plan)

    def _run(self) -> None:
        due: float | None = 0.0
        while not self._stopping:
            self._wake.wait(due)
            self._wake.clear()
            if self._stopping:
                return
            try:
                due = self.tick()
            except StokerError as error:
                _log.warning("%s", error)
                due = _TROUBLE_SECONDS
            except Exception:  # noqa: BLE001 -- the outermost loop: one bad pass must not end all scheduling
                _log.exception("a scheduling pass failed")
                due = _TROUBLE_SECONDS

    def _observe(self) -> dict[str, Mapping[Key, Observation]]:
        """What each engine that answers says of its orders."""
        busy = {job.engine for job in self._ledger.active()}
        seen: dict[str, Mapping[Key, Observation]] = {}
        for name in busy & self._engines.keys():
            try:
                seen[name] = self._engines[name].states()
                self.away.pop(name, None)
            except Away as error:
                self.away[name] = str(error)
        return seen

    def _apply_observations(self, seen: Mapping[str, Mapping[Key, Observation]]) -> None:
        begun: list[Move] = []
        for job, said in self._said(seen):
            if said.state is not JobState.STARTING and said.started_at and job.state is JobState.STARTING:
                begun.append(Move(job, JobState.RUNNING, fields={"started_at": said.started_at}))
        self._move(begun)
        ended = [after_end(job, said, self._clock.now()) for job, said in self._said(seen) if said.state.final]
        self._move(ended)
        self._forget(seen)

    def _said(self, seen: Mapping[str, Mapping[Key, Observation]]) -> list[tuple[Job, Observation]]:
        """Each active job with what its engine says of it now."""
        found = []
        for job in self._ledger.active():
            said = seen.get(job.engine, {}).get(_key(job))
            if said is not None:
                found.append((job, said))
        return found

    def _forget(self, seen: Mapping[str, Mapping[Key, Observation]]) -> None:
        """Let engines drop the orders that have ended and whose end is stored."""
        for name, states in seen.items():
            engine = self._engines[name]
            over = [key for key, said in states.items() if said.state.final and not self._active(key)]
            self._told_to_end.difference_update(over)
            if over and isinstance(engine, CanForget):
                engine.forget(over)

    def _active(self, key: Key) -> bool:
        job = self._ledger.get(key.job)
        return job is not None and job.state is not JobState.PENDING and job.attempt == key.attempt

    def _hand_over(self, seen: Mapping[str, Mapping[Key, Observation]]) -> None:
        """Give engines the decided orders that they do not know, as after a restart; bury lost ones."""
        orders: dict[str, list[Job]] = {}
        lost: list[Move] = []
        for job in self._ledger.active():
            if job.engine not in seen or _key(job) in seen[job.engine]:
                continue
            if job.state is JobState.STARTING:
                orders.setdefault(job.engine, []).append(job)
            else:
                end = Observation(
                    JobState.NODE_FAIL, reason="NodeFail", message=f"{job.engine} does not know it any more"
                )
                lost.append(after_end(job, end, self._clock.now()))
        self._move(lost)
        for name, jobs in orders.items():
            self._submit(name, jobs)

    def _submit(self, name: str, jobs: Sequence[Job]) -> None:
        try:
            refused = self._engines[name].submit([_order(job) for job in jobs])
        except Away as error:
            self.away[name] = str(error)
            _log.warning("%s: %s", name, error)
            return
        now = self._clock.now()
        self._move(
            [
                Move(job, JobState.FAILED, "Refused", refused[_key(job)], {"ended_at": now})
                for job in jobs
                if _key(job) in refused
            ]
        )

    def _end_stopping(self, seen: Mapping[str, Mapping[Key, Observation]]) -> None:
        """Tell engines of cancellations, once each."""
        for job in self._ledger.active():
            key = _key(job)
            if job.state is JobState.STOPPING and key in seen.get(job.engine, {}) and key not in self._told_to_end:
                self._engines[job.engine].cancel([key], grace=job.spec.grace)
                self._told_to_end.add(key)

    def _snapshot(self) -> Snapshot:
        return Snapshot(
            now=self._clock.now(),
            nodes=self.nodes(),
            pending=self._ledger.pending(),
            active=self._ledger.active(),
            depended=self._ledger.depended(),
            away=dict(self.away),
        )

    def _apply_plan(self, plan: Plan) -> None:
        now = self._clock.now()
        pending = {job.id: job for job in self._ledger.pending()}
        self._move(
            [
                Move(pending[job_id], JobState.FAILED, why.reason, why.message, {"ended_at": now})
                for job_id, why in plan.fails.items()
            ]
        )
        started = self._move([_starting(start) for start in plan.starts])
        for name in {job.engine for job in started}:
            self._submit(name, [job for job in started if job.engine == name])
        if plan.fails:
            self.wake()  # others may have waited for these

    def _move(self, moves: Sequence[Move]) -> list[Job]:
        moved = self._store.move(moves, at=self._clock.now())
        for job in moved:
            self._ledger.note(job)
        if moved:
            self._changes.bump()
        return moved

    def _next_due(self, plan: Plan) -> float | None:
        dues: list[float] = []
        if plan.wake_at is not None:
            dues.append(max(0.0, plan.wake_at - self._clock.now()))
        if self.away:
            dues.append(_TROUBLE_SECONDS)
        silent = {name for name, engine in self._engines.items() if not isinstance(engine, CanNotify)}
        if any(job.engine in silent for job in self._ledger.active()):
            dues.append(_ASK_SECONDS)
        return min(dues, default=None)


def _key(job: Job) -> Key:
    return Key(job.id, job.attempt)


def _order(job: Job) -> Order:
    return Order(
        key=_key(job),
        spec=job.spec,
        placements=job.placements,
        array_id=job.array_id,
        array_index=job.array_index,
        owner=job.owner,
    )


def _starting(start: Start) -> Move:
    fields = {
        "attempt": start.job.attempt + 1,
        "engine": start.engine,
        "placements": start.placements,
        "not_before": None,
    }
    return Move(start.job, JobState.STARTING, fields=fields)
