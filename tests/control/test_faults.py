"""Whatever fails between the platform and an engine, and whenever the platform is killed: each job ends once, its
program is begun at most once per attempt, and nothing is left behind."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stoker.clock import ManualClock
from stoker.cluster import Node
from stoker.control.changes import Changes
from stoker.control.courier import Courier
from stoker.control.loop import Dispatcher
from stoker.control.roster import Roster
from stoker.engine import Key, Observation, Order
from stoker.engine_config import EngineConfig
from stoker.errors import Away
from stoker.job import JobSpec, JobState
from stoker.store.database import Database
from stoker.store.jobs import Draft, JobStore, Move
from stoker.store.lease import Lease

FATES = ("well", "away", "killed before", "killed after", "lost answer")
JOBS = 4


class Killed(BaseException):
    """The platform is gone at once; nothing of it may go on."""


class Cluster:
    """The foreign system: it lives on when the platform does not. An order begins at most once per key."""

    def __init__(self) -> None:
        self.orders: dict[Key, Observation] = {}
        self.begun: Counter[Key] = Counter()

    def take(self, orders: Sequence[Order]) -> None:
        for order in orders:
            self.orders.setdefault(order.key, Observation(JobState.STARTING))

    def work(self, lucky: bool) -> None:
        """Time passes there: what was handed over begins, what runs ends."""
        for key, seen in self.orders.items():
            if seen.state is JobState.STARTING:
                self.begun[key] += 1
                self.orders[key] = Observation(JobState.RUNNING, started_at=1.0)
            elif seen.state is JobState.RUNNING:
                state = JobState.SUCCEEDED if lucky else JobState.NODE_FAIL
                self.orders[key] = Observation(state, started_at=1.0, ended_at=2.0, exit_code=0)


class FaultyEngine:
    """One engine's client, of one life of the platform; each call meets the next fate."""

    name = "far"

    def __init__(self, cluster: Cluster, fate: Callable[[], str]) -> None:
        self._cluster = cluster
        self._fate = fate

    def submit(self, orders: Sequence[Order]) -> Mapping[Key, str]:
        self._meet(lambda: self._cluster.take(orders))
        return {}

    def states(self) -> Mapping[Key, Observation]:
        self._meet(lambda: None)
        return dict(self._cluster.orders)

    def cancel(self, keys: Sequence[Key], *, grace: float) -> None:
        ended = Observation(JobState.CANCELLED)
        self._meet(lambda: self._cluster.orders.update({k: ended for k in keys if k in self._cluster.orders}))

    def forget(self, keys: Sequence[Key]) -> None:
        self._meet(lambda: [self._cluster.orders.pop(key, None) for key in keys])

    def logs(self, key: Key, *, stream: str = "stdout", offset: int = 0, limit: int = 1 << 20) -> bytes:
        return b""

    def inventory(self) -> tuple[Node, ...]:
        return (Node("n1", "far", 2, 1 << 30),)

    def close(self) -> None:
        pass

    def _meet(self, do: Callable[[], object]) -> None:
        fate = self._fate()
        if fate == "killed before":
            raise Killed
        if fate == "away":
            raise Away("no route")
        do()
        if fate == "killed after":
            raise Killed
        if fate == "lost answer":
            raise Away("broken pipe")


class Life:
    """One life of the platform: a dispatcher and a courier whose steps are made by hand."""

    def __init__(self, database: Database, cluster: Cluster, fate: Callable[[], str], clock: ManualClock) -> None:
        self.store = JobStore(database)
        engine = FaultyEngine(cluster, fate)
        self.courier = Courier(engine, EngineConfig("far", "slurm"), clock, quick=0.0, steady=0.0)
        roster = Roster.of(self.courier)
        self.dispatcher = Dispatcher(self.store, roster, Lease(database), Changes(), clock)

    def pass_(self) -> None:
        self.dispatcher.tick()
        self.courier.step()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    fates=st.lists(st.sampled_from(FATES), max_size=40),
    cancelled=st.sets(st.integers(0, JOBS - 1), max_size=2),
    cancel_at=st.integers(0, 20),
    luck=st.lists(st.booleans(), max_size=6),
)
def test_each_job_ends_once_whatever_fails(
    fates: list[str], cancelled: set[int], cancel_at: int, luck: list[bool]
) -> None:
    left, lucky = iter(fates), iter(luck)
    cluster, clock = Cluster(), ManualClock()

    def fate() -> str:
        return next(left, "well")

    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{Path(folder)}/t.db")
        database.migrate()
        life = Life(database, cluster, fate, clock)
        drafts = [Draft(JobSpec(command=("x",), requeue=True)) for _ in range(JOBS)]
        ids = [job.id for job in life.store.add(drafts, tenant="t", owner="o", ship="", at=clock.now())]
        for turn in range(400):
            if turn == cancel_at:
                _cancel(life.store, [ids[at] for at in cancelled], clock.now())
            try:
                life.pass_()
            except Killed:
                life = Life(database, cluster, fate, clock)
            cluster.work(next(lucky, True))
            clock.advance(10.0)
            if all(life.store.get(job).state.final for job in ids) and not cluster.orders:
                break
        jobs = [life.store.get(job) for job in ids]
        database.close()
    for at, job in enumerate(jobs):
        wanted = (JobState.CANCELLED, JobState.SUCCEEDED) if at in cancelled else (JobState.SUCCEEDED,)
        assert job.state in wanted, (job.state, job.message)
        assert job.attempt <= 1 + len(luck)
    assert max(cluster.begun.values(), default=0) <= 1
    assert {key.job for key in cluster.begun} <= set(ids)
    assert cluster.orders == {}


def _cancel(store: JobStore, ids: Sequence[int], now: float) -> None:
    for job in store.by_ids(ids):
        if not job.state.final:
            state = JobState.CANCELLED if job.state is JobState.PENDING else JobState.STOPPING
            fields = {"cancel_requested": True, **({"ended_at": now} if state.final else {})}
            store.move([Move(job, state, "Cancelled", "cancelled", fields)], at=now)
