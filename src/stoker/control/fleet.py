"""Fleet: all engines together. One that is away keeps nobody from the others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from stoker.cluster import Node
from stoker.control.roster import Roster
from stoker.engine import CanForget, CanNotify, CanProbe, CanSeeOthers, Key, Observation, Order
from stoker.errors import Away, StokerError
from stoker.foreign import ForeignJob
from stoker.job import Job, JobSpec, JobState
from stoker.telemetry import read_telemetry

_log = logging.getLogger(__name__)
_TELEMETRY_BYTES = 64 << 20


class Fleet:
    """`look` asks each engine once; the rest answers from what was seen then. Used by the dispatcher's thread, but
    for `nodes`, `others`, `said` and `away`, which anybody may read."""

    def __init__(self, roster: Roster, order: Callable[[Job], Order] | None = None) -> None:
        """`order` makes the order of a job; it raises StokerError for one that cannot be made any more."""
        self._engines = roster
        self._order = order or order_of
        self._nodes: dict[str, tuple[Node, ...]] = {}
        self._seen: dict[str, Mapping[Key, Observation]] = {}
        self._others: dict[str, tuple[ForeignJob, ...]] = {}
        self._told_to_end: set[Key] = set()
        self._wake: Callable[[], None] = lambda: None
        self._telling: set[str] = set()  # engines that were asked to tell news
        self.away: Mapping[str, str] = {}  # engine -> why it does not answer

    def notify(self, wake: Callable[[], None]) -> None:
        """Let every engine that can tell its news by `wake`, and those that come later too."""
        self._wake = wake
        self._engines.on_change(wake)
        self._listen()

    def _listen(self) -> None:
        for name, engine in self._engines.items():
            if name not in self._telling and isinstance(engine, CanNotify):
                engine.notify(self._wake)
                self._telling.add(name)

    @property
    def silent(self) -> set[str]:
        """Engines that do not tell news by themselves and must be asked."""
        return {name for name, engine in self._engines.items() if not isinstance(engine, CanNotify)}

    def look(self, busy: Collection[str]) -> None:
        """Ask every engine what it offers, and those of `busy` what became of their orders."""
        away: dict[str, str] = {}
        seen: dict[str, Mapping[Key, Observation]] = {}
        self._drop_removed()
        self._listen()
        for name, engine in self._engines.items():
            try:
                self._nodes[name] = engine.inventory()
                if isinstance(engine, CanSeeOthers):
                    self._others[name] = engine.others()
                if name in busy:
                    seen[name] = engine.states()
            except Away as error:
                away[name] = str(error)
                if name not in self.away:
                    _log.warning("%s: %s", name, error)
        self.away, self._seen = away, seen

    def _drop_removed(self) -> None:
        for kept in (self._nodes, self._others):
            for name in kept.keys() - self._engines.keys():
                del kept[name]
        self._telling &= self._engines.keys()

    def others(self) -> tuple[ForeignJob, ...]:
        """What was given to the engines without us, as seen last."""
        return tuple(job for name in self._engines for job in self._others.get(name, ()))

    def nodes(self) -> tuple[Node, ...]:
        """What all engines offer, as seen last; those that never answered offer nothing."""
        return tuple(node for name in self._engines for node in self._nodes.get(name, ()))

    @property
    def complete(self) -> bool:
        """Whether every engine has told its nodes at least once."""
        return self._nodes.keys() >= self._engines.keys()

    def answers(self, engine: str) -> bool:
        return engine in self._seen

    def said(self, job: Job) -> Observation | None:
        """What its engine says of the job's current attempt; None when it does not know it or did not answer."""
        return self._seen.get(job.engine, {}).get(key_of(job))

    def submit(self, engine: str, jobs: Sequence[Job]) -> list[tuple[Job, str]]:
        """Hand over; those refused for good, with one line each. An engine that is away gets them again later."""
        if engine not in self._engines:
            return [(job, f'the engine "{engine}" was removed') for job in jobs]
        orders, refused = self._orders(jobs)
        try:
            refused |= self._engines[engine].submit(orders)
        except Away as error:
            self.away = {**self.away, engine: str(error)}
            _log.warning("%s: %s", engine, error)
        return [(job, refused[key_of(job)]) for job in jobs if key_of(job) in refused]

    def _orders(self, jobs: Iterable[Job]) -> tuple[list[Order], dict[Key, str]]:
        """The jobs' orders, and why others cannot be made any more."""
        orders: list[Order] = []
        refused: dict[Key, str] = {}
        for job in jobs:
            try:
                orders.append(self._order(job))
            except (Away, OSError) as error:  # a full disk: it is handed over with a later pass
                _log.warning("job %d cannot be handed over now: %s", job.id, error)
            except StokerError as error:
                refused[key_of(job)] = str(error)
        return orders, refused

    def end(self, job: Job) -> None:
        """Ask the engine to end it; once, and after a restart once more."""
        key = key_of(job)
        if key in self._told_to_end or job.engine not in self._engines:
            return
        try:
            self._engines[job.engine].cancel([key], grace=job.spec.grace + _warning(job))
            self._told_to_end.add(key)
        except Away as error:
            self.away = {**self.away, job.engine: str(error)}

    def last_word(self, job: Job) -> str:
        """Why the job ended well, as it told itself; empty when it did not say or cannot be asked now."""
        engine = self._engines.able(job.engine, CanProbe)
        try:
            told = engine.probe(key_of(job), limit=_TELEMETRY_BYTES) if engine else b""
        except StokerError:
            return ""
        return read_telemetry(told.splitlines(), f"job/{job.id}").end

    def settle(self, active: Callable[[Key], bool]) -> None:
        """Let engines drop what has ended, and end what should not run: orders not `active` any more."""
        for name, states in self._seen.items():
            engine = self._engines[name]
            idle = [key for key in states if not active(key)]
            over = [key for key in idle if states[key].state.final]
            stray = [key for key in idle if not states[key].state.final and key not in self._told_to_end]
            self._told_to_end.difference_update(over)
            if stray:
                engine.cancel(stray, grace=0.0)
                self._told_to_end.update(stray)
            if over and isinstance(engine, CanForget):
                engine.forget(over)

    def unknown(self, jobs: Iterable[Job]) -> list[Job]:
        """Those of `jobs` whose engine answered, but not about them."""
        return [job for job in jobs if self.answers(job.engine) and self.said(job) is None]


def placed_spec(job: Job) -> JobSpec:
    """What the job asks for where it is placed: an elastic one has so many nodes as it got."""
    if not job.spec.min_nodes or not job.placements:
        return job.spec
    return replace(job.spec, nodes=len(job.placements))


def _warning(job: Job) -> float:
    """Seconds that a job gets to save itself before it is told to end. Whoever ends it himself does not wait."""
    return 0.0 if job.cancel_requested or job.state is not JobState.STOPPING else job.spec.warning


def key_of(job: Job) -> Key:
    return Key(job.id, job.attempt)


def order_of(job: Job) -> Order:
    """What the job itself says; what it takes along from this machine is the luggage's."""
    return Order(
        key=key_of(job),
        spec=placed_spec(job),
        placements=job.placements,
        array_id=job.array_id,
        array_index=job.array_index,
        owner=job.owner,
    )
