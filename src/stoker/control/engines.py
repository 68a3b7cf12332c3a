"""EngineDesk: which engines there are. One that is added works at once, and again after every restart."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NoReturn

from stoker.account import Account, Role
from stoker.clock import Clock
from stoker.cluster import Node
from stoker.control.courier import Courier
from stoker.control.loop import Dispatcher
from stoker.control.rights import require
from stoker.control.roster import Roster
from stoker.engine import Engine, Key, Observation, Order
from stoker.engine_config import LOCAL, EngineConfig, EngineStatus
from stoker.errors import Away, BadInput, Conflict, NotFound, StokerError
from stoker.foreign import ForeignJob
from stoker.job import JobState
from stoker.store.engines import EngineStore
from stoker.store.jobs import Filter, JobStore

_log = logging.getLogger(__name__)

Build = Callable[[EngineConfig], Engine]

_MOST = 1_000_000  # jobs counted
_ACTIVE = tuple(state for state in JobState if not state.final and state is not JobState.PENDING)


class EngineDesk:
    """Thread-safe. `start` opens what was added before; an engine that cannot be opened keeps nobody away."""

    def __init__(
        self,
        store: EngineStore,
        jobs: JobStore,
        roster: Roster,
        dispatcher: Dispatcher,
        build: Build,
        clock: Clock,
    ) -> None:
        """`build` makes the engine of a configuration; it raises BadInput for settings that are wrong."""
        self._store = store
        self._jobs = jobs
        self._roster = roster
        self._dispatcher = dispatcher
        self._build = build
        self._clock = clock

    def load(self) -> None:
        """Put the engines that were added before on the roster."""
        for config in self._store.all():
            try:
                self._open(config, self._build(config))
            except StokerError as error:
                _log.error("engine %s cannot be opened: %s", config.name, error)
                self._open(config, _Unopened(config.name, str(error)))

    def add(self, config: EngineConfig, who: Account, *, check: bool = True) -> EngineStatus:
        """Add an engine for good. With `check` it must answer once, so that a wrong key or host is told at once.

        Raises Denied, BadInput for wrong settings, Conflict for a name that is taken, Away.
        """
        require(who, Role.ADMIN, "add an engine")
        if config.name in self._roster:
            raise Conflict(f'there is an engine "{config.name}" already; choose another name or remove it first')
        engine = self._build(config)
        nodes: Sequence[Node] = ()
        try:
            if check:
                nodes = engine.inventory()
            self._store.add(config)
        except BaseException:
            engine.close()
            raise
        self._open(config, engine)
        devices = sum(len(node.devices) for node in nodes)
        return replace(self.get(config.name, who), nodes=len(nodes), devices=devices)

    def remove(self, name: str, who: Account) -> None:
        """Forget an engine. Raises Conflict while jobs of ours are on it; what others run there is not touched."""
        require(who, Role.ADMIN, "remove an engine")
        if name == LOCAL:
            raise BadInput(f'"{LOCAL}" is the engine of this machine and stays')
        held = self._held()[name]
        if held:
            raise Conflict(f'{held} jobs are on "{name}"; wait for them or cancel them first: stoker jobs')
        self._store.remove(name)
        self._roster.remove(name).close()

    def find(self, who: Account) -> list[EngineStatus]:
        require(who, Role.VIEWER, "see the engines")
        held = self._held()
        return [self._status(name, held[name]) for name in sorted(self._roster)]

    def get(self, name: str, who: Account) -> EngineStatus:
        """Raises NotFound with near names."""
        require(who, Role.VIEWER, "see the engines")
        if name not in self._roster:
            raise NotFound.named("engine", name, self._roster)
        return self._status(name, self._held()[name])

    def foreign(self, who: Account) -> list[ForeignJob]:
        """What others gave to the engines directly; whose it is and what it is called is told to admins alone."""
        require(who, Role.VIEWER, "see what others run")
        found = self._dispatcher.others()
        if who.role is Role.ADMIN:
            return list(found)
        return [replace(job, name="", owner="", queue="") for job in found]

    def _open(self, config: EngineConfig, engine: Engine) -> None:
        courier = Courier(engine, config, self._clock)
        self._roster.add(courier)
        courier.open()

    def _held(self) -> Counter[str]:
        return Counter(job.engine for job in self._jobs.find(Filter(states=_ACTIVE), limit=_MOST))

    def _status(self, name: str, held: int) -> EngineStatus:
        engine = self._roster[name]
        nodes = [node for node in self._dispatcher.nodes() if node.engine == name]
        status = EngineStatus(
            name,
            kind=name,
            answered_at=self._clock.now(),
            nodes=len(nodes),
            devices=sum(len(node.devices) for node in nodes),
            jobs=held,
            foreign=sum(job.engine == name for job in self._dispatcher.others()),
        )
        if not isinstance(engine, Courier):
            return status
        config = engine.config
        status = replace(status, kind=config.kind, site=config.site, taints=config.taints)
        return replace(status, away=engine.away, answered_at=engine.answered_at, calls=engine.calls)


class _Unopened:
    """Stands for an engine whose settings have become wrong, so that its jobs are unknown and not lost."""

    def __init__(self, name: str, why: str) -> None:
        self.name = name
        self._why = why

    def submit(self, orders: Sequence[Order]) -> Mapping[Key, str]:
        del orders
        self._refuse()

    def states(self) -> Mapping[Key, Observation]:
        self._refuse()

    def cancel(self, keys: Sequence[Key], *, grace: float) -> None:
        del keys, grace
        self._refuse()

    def logs(self, key: Key, *, stream: str = "stdout", offset: int = 0, limit: int = 1 << 20) -> bytes:
        del key, stream, offset, limit
        return b""

    def inventory(self) -> tuple[Node, ...]:
        self._refuse()

    def close(self) -> None:
        pass

    def _refuse(self) -> NoReturn:
        raise Away(f"cannot be opened: {self._why}")
