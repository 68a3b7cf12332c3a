"""A machine of two engines, with everything that can happen to it: answers that are old by the time they arrive,
calls that fail before or after they took effect, other people, and a platform that is killed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import cast

from stoker.account import Account
from stoker.clock import ManualClock
from stoker.cluster import Device, Node, Place
from stoker.control.changes import Changes
from stoker.control.courier import Courier
from stoker.control.drains import DrainDesk
from stoker.control.loop import Dispatcher
from stoker.control.moves import ACTIVE, MoveDesk
from stoker.control.rights import platform
from stoker.control.roster import Roster
from stoker.engine import Key, Observation, Order
from stoker.engine_config import EngineConfig
from stoker.errors import Away, Conflict, NotFound
from stoker.foreign import ForeignJob, Held
from stoker.job import Job, JobSpec, JobState, Placement, Resources
from stoker.node_drain import NodeDrain, with_drains
from stoker.node_move import NodeMove
from stoker.store.drains import DrainStore
from stoker.store.jobs import JobStore, Move
from stoker.store.moves import KeptMove, MoveStore

ADMIN: Account = platform("ops", "ann")
SLURM, KUBERNETES = Place("slurm", "gpu3"), Place("kubernetes", "gpu3")
SPEC = JobSpec(command=("x",), resources=Resources(accelerators=8), requeue=True)


class Killed(BaseException):
    """The platform has been killed right here."""


class Fate:
    """Counts the steps that reach the outside, and kills the platform at the one it was told."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.steps = 0
        self.kill_at = 0  # 0: never

    def step(self) -> None:
        self.clock.advance(0.001)
        self.steps += 1
        if self.steps == self.kill_at:
            raise Killed


class Truth:
    """One engine as it really is. It implements Engine, CanDrain and CanSeeOthers for its one node."""

    def __init__(self, name: str, fate: Fate, *, node: str = "gpu3") -> None:
        self.name = name
        self.node = node
        self.closed_for = ""  # reason of the drain; empty: open
        self.foreign = 0  # jobs of others that hold devices
        self.gone = False
        self.fail: str = ""  # "before" or "after": how the next call of ours fails
        self.before_inventory: Callable[[], None] | None = None  # what happens while it is being asked
        self.on_open: Callable[[Truth], None] = lambda _truth: None
        self.calls: list[str] = []
        self._fate = fate
        self._told: tuple[ForeignJob, ...] = ()

    @property
    def open(self) -> bool:
        return not self.closed_for

    def states(self) -> Mapping[Key, Observation]:
        self._maybe_fail("ask")
        held = (Held(self.node, cpus=4, devices=8),)
        self._told = tuple(
            ForeignJob(self.name, str(number), "train", "bob", JobState.RUNNING, held)
            for number in range(self.foreign)
        )
        return {}

    def inventory(self) -> tuple[Node, ...]:
        if self.before_inventory:
            event, self.before_inventory = self.before_inventory, None
            event()
        if self.gone:
            return ()
        devices = tuple(Device(index, "H100") for index in range(8))
        return (Node(self.node, self.name, 16, 1 << 30, devices, schedulable=self.open, reason=self.closed_for),)

    def others(self) -> tuple[ForeignJob, ...]:
        return self._told

    def drain(self, node: str, reason: str) -> None:
        self._call("drain", node)
        if self.open:
            self.closed_for = reason
        self._after()

    def undrain(self, node: str, reason: str) -> None:
        self._call("undrain", node)
        if self.closed_for not in ("", reason):
            raise Conflict(f"{node} is drained on {self.name} for another reason: {self.closed_for}")
        if self.closed_for:
            self.on_open(self)
            self.closed_for = ""
        self._after()

    def submit(self, orders: Sequence[Order]) -> Mapping[Key, str]:
        return {order.key: "nothing runs here" for order in orders}

    def cancel(self, keys: Sequence[Key], *, grace: float) -> None: ...

    def logs(self, key: Key, *, stream: str = "stdout", offset: int = 0, limit: int = 1 << 20) -> bytes:
        return b""

    def close(self) -> None: ...

    def _call(self, what: str, node: str) -> None:
        self._fate.step()
        self.calls.append(what)
        if self.gone or node != self.node:
            raise NotFound(f'{self.name} has no node "{node}"')
        self._maybe_fail("before")

    def _after(self) -> None:
        self._maybe_fail("after")
        self._fate.step()

    def _maybe_fail(self, when: str) -> None:
        if self.fail == when:
            self.fail = ""
            raise Away(f"{self.name} timed out")


class MoveMemory:
    """MoveStore in memory."""

    def __init__(self, fate: Fate) -> None:
        self.kept: dict[int, KeptMove] = {}
        self._fate = fate

    def add(self, drafts: Iterable[NodeMove]) -> list[NodeMove]:
        added = []
        for draft in drafts:
            if any(one.move.machine == draft.machine for one in self.going()):
                raise Conflict(f"{draft.machine} is being moved already")
            number = len(self.kept) + 1
            reason = draft.drain_reason.replace("{id}", str(number))
            move = dataclasses.replace(draft, id=number, drain_reason=reason)
            self.kept[number] = KeptMove(move, 1)
            added.append(move)
        return added

    def save(self, move: NodeMove, revision: int) -> bool:
        self._fate.step()
        if self.kept[move.id].revision != revision:
            return False
        self.kept[move.id] = KeptMove(move, revision + 1)
        self._fate.step()
        return True

    def get(self, move_id: int) -> KeptMove:
        return self.kept[move_id]

    def going(self) -> list[KeptMove]:
        return [one for one in self.kept.values() if not one.move.state.final]


class DrainMemory:
    """DrainStore in memory."""

    def __init__(self, fate: Fate) -> None:
        self.kept: dict[Place, NodeDrain] = {}
        self._fate = fate

    def add(self, drain: NodeDrain) -> bool:
        self._fate.step()
        return self.kept.setdefault(drain.place, drain) is drain

    def confirm(self, drain: NodeDrain) -> None:
        self._fate.step()
        if self._same(drain):
            self.kept[drain.place] = dataclasses.replace(drain, told=True)

    def remove(self, drain: NodeDrain) -> bool:
        self._fate.step()
        return self._same(drain) and self.kept.pop(drain.place) is not None

    def _same(self, drain: NodeDrain) -> bool:
        kept = self.kept.get(drain.place)
        return kept is not None and dataclasses.replace(kept, told=drain.told) == drain

    def all(self) -> dict[Place, NodeDrain]:
        return dict(self.kept)


class JobMemory:
    """JobStore in memory, as far as moves need it."""

    def __init__(self, fate: Fate) -> None:
        self.jobs: dict[int, Job] = {}
        self._fate = fate

    def start(self, place: Place, spec: JobSpec = SPEC) -> Job:
        number = len(self.jobs) + 1
        held = (Placement(place.node, tuple(range(8))),)
        job = Job(number, spec, "t", "o", JobState.RUNNING, 0.0, attempt=1, engine=place.engine, placements=held)
        self.jobs[number] = job
        return job

    def end(self, job_id: int) -> None:
        self.jobs[job_id] = dataclasses.replace(self.jobs[job_id], state=JobState.SUCCEEDED)

    def active(self) -> list[Job]:
        return [job for job in self.jobs.values() if job.state in ACTIVE]

    def find(self, _wanted: object, *, limit: int) -> list[Job]:
        return self.active()[:limit]

    def by_ids(self, ids: Sequence[int]) -> list[Job]:
        return [self.jobs[job_id] for job_id in ids]

    def move(self, moves: Sequence[Move], *, at: float, durable: bool = False) -> list[Job]:
        del at, durable
        self._fate.step()
        for one in moves:
            self.jobs[one.job.id] = dataclasses.replace(self.jobs[one.job.id], state=one.state, reason=one.reason)
        return [self.jobs[one.job.id] for one in moves]


class Passes:
    """The dispatcher as far as moves see it. A pass starts a job wherever it saw an open node when it began."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.passed_at = 0.0
        self.seen: tuple[float, tuple[Node, ...]] | None = None  # the pass under way

    def wake(self) -> None: ...

    def shown(self, engine: str) -> tuple[Node, ...]:
        return self._world.last_shown.get(engine, ())

    def begin(self) -> None:
        began = self._world.clock.now()
        nodes: list[Node] = []
        for name, courier in self._world.couriers.items():
            try:
                self._world.last_shown[name] = courier.inventory()
            except Away:
                continue
            nodes += self._world.last_shown[name]
        self.seen = began, with_drains(nodes, self._world.drain_store.all())

    def finish(self, *, starts: bool) -> None:
        if self.seen is None:
            return
        began, nodes = self.seen
        self.seen = None
        held = {place.node for job in self._world.jobs.active() for place in job.placements}
        for node in nodes:
            if starts and node.schedulable and node.name not in held:
                self._world.jobs.start(node.place)
                break
        self.passed_at = began


class World:
    """The machine gpu3, open on slurm and kept closed on kubernetes by an earlier move, unless told."""

    def __init__(self, *, both_open: bool = False) -> None:
        self.clock = ManualClock()
        self.fate = Fate(self.clock)
        self.slurm, self.kubernetes = Truth("slurm", self.fate), Truth("kubernetes", self.fate)
        self.engines = (self.slurm, self.kubernetes)
        self.move_store, self.drain_store = MoveMemory(self.fate), DrainMemory(self.fate)
        self.jobs = JobMemory(self.fate)
        self.last_shown: dict[str, tuple[Node, ...]] = {}
        self.parked = NodeDrain(KUBERNETES, "move 7 to slurm", "ann", 0.0, 7, "moved to slurm, move 7", told=True)
        if not both_open:
            self.drain_store.kept[self.parked.place] = self.parked
            self.kubernetes.closed_for = self.parked.reason
        self.restart()

    def restart(self) -> None:
        """What a platform that has just been started knows: what is stored."""
        self.fate.kill_at = 0
        changes = Changes()
        self.couriers = {
            one.name: Courier(one, EngineConfig(one.name, "scripted"), self.clock) for one in self.engines
        }
        self.roster = Roster(self.couriers)
        self.passes = Passes(self)
        dispatcher = cast(Dispatcher, self.passes)
        self.drains = DrainDesk(cast(DrainStore, self.drain_store), self.roster, dispatcher, changes, self.clock)
        self.moves = MoveDesk(
            cast(MoveStore, self.move_store),
            cast(JobStore, self.jobs),
            self.drains,
            self.roster,
            dispatcher,
            changes,
            self.clock,
        )

    def ask(self, engine: Truth) -> None:
        """The courier asks now."""
        courier = self.couriers[engine.name]
        courier.look_again()
        courier.step()

    def advance(self) -> None:
        self.clock.advance(0.001)
        self.moves.advance()

    def go_on(self) -> None:
        """One quiet round: both engines answer, the scheduler passes, and the moves go on."""
        for engine in self.engines:
            self.clock.advance(2.0)
            self.ask(engine)
        self.passes.begin()
        self.passes.finish(starts=False)
        self.advance()

    def settle(self, rounds: int = 30) -> NodeMove:
        """Quiet rounds until the only move is over."""
        for _ in range(rounds):
            if self.move.state.final:
                break
            self.go_on()
        return self.move

    @property
    def move(self) -> NodeMove:
        return self.move_store.kept[max(self.move_store.kept)].move
