"""The dispatcher against an engine that does as it is told, and misbehaves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from stoker.clock import ManualClock
from stoker.cluster import Node
from stoker.control.changes import Changes
from stoker.control.loop import Dispatcher
from stoker.control.patience import PATIENCE_S
from stoker.control.roster import Roster
from stoker.engine import Key, Observation, Order
from stoker.errors import Away
from stoker.job import Job, JobSpec, JobState, Resources
from stoker.store.database import Database
from stoker.store.jobs import Draft, JobStore, Move
from stoker.store.lease import Lease


class ScriptedEngine:
    """An engine in memory. It tells no news by itself, so the dispatcher has to ask."""

    def __init__(self, name: str = "fake") -> None:
        self.name = name
        self.orders: dict[Key, Observation] = {}
        self.handed: list[Key] = []
        self.cancelled: list[Key] = []
        self.refuse = ""
        self.away = False
        self.asked = 0

    def submit(self, orders: Sequence[Order]) -> Mapping[Key, str]:
        self._answer()
        if self.refuse:
            return {order.key: self.refuse for order in orders}
        for order in orders:
            self.handed.append(order.key)
            self.orders.setdefault(order.key, Observation(JobState.STARTING))
        return {}

    def states(self) -> Mapping[Key, Observation]:
        self._answer()
        self.asked += 1
        return dict(self.orders)

    def cancel(self, keys: Sequence[Key], *, grace: float) -> None:
        self._answer()
        self.cancelled += keys

    def logs(self, key: Key, *, stream: str = "stdout", offset: int = 0, limit: int = 1 << 20) -> bytes:
        return b""

    def inventory(self) -> tuple[Node, ...]:
        self._answer()
        return (Node(f"{self.name}-1", self.name, 2, 1 << 30),)

    def close(self) -> None:
        pass

    def forget(self, keys: Sequence[Key]) -> None:
        for key in keys:
            del self.orders[key]

    def say(self, job: int, state: JobState, attempt: int = 1, **fields: object) -> None:
        self.orders[Key(job, attempt)] = Observation(state, started_at=10.0, **fields)  # type: ignore[arg-type]

    def _answer(self) -> None:
        if self.away:
            raise Away(f"{self.name} does not answer")


class Bench:
    """A store, a clock and a dispatcher whose passes are made by hand."""

    def __init__(self, path: Path, *engines: ScriptedEngine) -> None:
        self.database = Database(f"sqlite:///{path}/test.db")
        self.database.migrate()
        self.store = JobStore(self.database)
        self.clock = ManualClock()
        self.engines = engines
        self.restart()

    def restart(self) -> None:
        self.dispatcher = Dispatcher(
            self.store, Roster.of(*self.engines), Lease(self.database), Changes(), self.clock
        )

    def add(self, **fields: object) -> int:
        spec = JobSpec(command=("x",), **fields)  # type: ignore[arg-type]
        return self.store.add([Draft(spec)], tenant="t", owner="o", ship="", at=self.clock.now())[0].id

    def tick(self) -> float | None:
        return self.dispatcher.tick()

    def job(self, job_id: int) -> Job:
        return self.store.get(job_id)


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine()


@pytest.fixture
def bench(tmp_path: Path, engine: ScriptedEngine) -> Iterator[Bench]:
    bench = Bench(tmp_path, engine)
    yield bench
    bench.database.close()


def test_a_job_goes_its_way(bench: Bench, engine: ScriptedEngine) -> None:
    job = bench.add()
    assert bench.tick() == 2.0  # the engine is silent, so it is asked again
    assert (bench.job(job).state, engine.handed) == (JobState.STARTING, [Key(job, 1)])
    engine.say(job, JobState.RUNNING)
    bench.tick()
    assert bench.job(job).started_at == 10.0
    engine.say(job, JobState.SUCCEEDED, exit_code=0)
    assert bench.tick() is None
    assert bench.job(job).state is JobState.SUCCEEDED
    assert engine.orders == {}  # forgotten once the end was stored


def test_an_engine_is_asked_once_a_pass_however_many_jobs(bench: Bench, engine: ScriptedEngine) -> None:
    for _ in range(5):
        bench.add(resources=Resources(cpus=0))
    bench.tick()
    engine.asked = 0
    bench.tick()
    assert engine.asked == 1


def test_a_decided_order_that_never_arrived_is_handed_over_once_more(bench: Bench, engine: ScriptedEngine) -> None:
    job = bench.add()
    fields = {"attempt": 1, "engine": "fake"}
    bench.store.move([Move(bench.job(job), JobState.STARTING, fields=fields)], at=0.0)  # and then it was killed
    bench.restart()
    bench.tick()
    assert engine.handed == [Key(job, 1)]
    assert bench.job(job).attempt == 1


def test_an_order_handed_over_before_the_kill_is_not_doubted(bench: Bench, engine: ScriptedEngine) -> None:
    job = bench.add()
    bench.tick()
    bench.restart()
    bench.tick()
    assert (engine.handed, bench.job(job).attempt) == ([Key(job, 1)], 1)


def test_a_running_job_that_its_engine_lost_is_a_node_failure(bench: Bench, engine: ScriptedEngine) -> None:
    lost, again = bench.add(), bench.add(requeue=True)
    bench.tick()
    for job in (lost, again):
        engine.say(job, JobState.RUNNING)
    bench.tick()
    engine.orders.clear()
    bench.tick()
    assert (bench.job(lost).state, bench.job(lost).message) == (
        JobState.NODE_FAIL,
        "fake does not know it any more",
    )
    assert engine.handed[-1] == Key(again, 2)
    assert bench.job(again).failures == 0  # a requeue is not a failure


def test_what_is_taken_away_again_and_again_is_begun_with_longer_and_longer_pauses(
    bench: Bench, engine: ScriptedEngine
) -> None:
    job = bench.add(requeue=True)
    bench.tick()
    for attempt in (1, 2, 3):
        engine.say(job, JobState.NODE_FAIL, attempt, ended_at=11.0)
        bench.tick()
        assert len(engine.handed) == attempt + (attempt == 1)  # the first time at once
        bench.clock.advance(float(attempt))
        bench.tick()
        assert engine.handed[-1] == Key(job, attempt + 1)
    engine.say(job, JobState.NODE_FAIL, 4, ended_at=10_000.0)  # the machine was restarted after a long while
    bench.tick()
    assert engine.handed[-1] == Key(job, 5)


def test_an_engine_that_is_away_keeps_nobody_from_the_others(tmp_path: Path) -> None:
    gone, here = ScriptedEngine("gone"), ScriptedEngine("here")
    bench = Bench(tmp_path, gone, here)
    there = bench.add(engine="gone")
    bench.tick()
    gone.away = True
    gone.say(there, JobState.SUCCEEDED)
    waits, runs = bench.add(engine="gone", resources=Resources(cpus=2)), bench.add(engine="here")
    assert bench.tick() == 2.0
    assert bench.job(there).state is JobState.STARTING  # nobody knows better
    assert here.handed == [Key(runs, 1)]
    assert bench.dispatcher.waits[waits][:2] == ("EngineAway", "gone does not answer")
    gone.away = False
    bench.tick()
    assert bench.job(there).state is JobState.SUCCEEDED
    assert Key(waits, 1) in gone.handed
    bench.database.close()


def test_what_an_engine_refuses_fails_with_its_words(bench: Bench, engine: ScriptedEngine) -> None:
    engine.refuse = "partition gpu is closed"
    job = bench.add()
    bench.tick()
    over = bench.job(job)
    assert (over.state, over.reason, over.message) == (JobState.FAILED, "Refused", "partition gpu is closed")


def test_cancellations_reach_the_engine_once(bench: Bench, engine: ScriptedEngine) -> None:
    job = bench.add()
    bench.tick()
    stopping = Move(bench.job(job), JobState.STOPPING, fields={"cancel_requested": True})
    bench.store.move([stopping], at=0.0)
    bench.tick()
    bench.tick()
    assert engine.cancelled == [Key(job, 1)]
    engine.say(job, JobState.FAILED, exit_code=143)
    bench.tick()
    assert bench.job(job).state is JobState.CANCELLED


def test_an_order_that_should_not_run_is_ended(bench: Bench, engine: ScriptedEngine) -> None:
    """As when a job was given up for lost and its engine finds it again."""
    busy = bench.add()
    bench.tick()
    engine.say(999, JobState.RUNNING)
    bench.tick()
    bench.tick()
    assert engine.cancelled == [Key(999, 1)]
    assert Key(busy, 1) in engine.orders


def test_retries_wait_for_their_time(bench: Bench, engine: ScriptedEngine) -> None:
    job = bench.add(retries=2)
    for attempt, pause in ((1, 1.0), (2, 2.0)):
        bench.tick()
        engine.say(job, JobState.FAILED, attempt=attempt, exit_code=1)
        assert bench.tick() == pause
        assert bench.job(job).state is JobState.PENDING
        bench.clock.advance(pause)
    bench.tick()
    engine.say(job, JobState.FAILED, attempt=3, exit_code=1)
    bench.tick()
    assert (bench.job(job).state, bench.job(job).failures) == (JobState.FAILED, 3)


def test_a_time_limit_is_not_tried_again(bench: Bench, engine: ScriptedEngine) -> None:
    job = bench.add(retries=5)
    bench.tick()
    engine.say(job, JobState.TIMEOUT)
    bench.tick()
    assert bench.job(job).state is JobState.TIMEOUT


def test_without_the_lease_nothing_is_touched(
    bench: Bench, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = bench.add()
    monkeypatch.setattr(Lease, "held", lambda _self: False)
    assert bench.tick() == 5.0
    assert (bench.job(job).state, engine.handed) == (JobState.PENDING, [])


def test_a_job_that_its_engine_keeps_waiting_is_called_back_and_placed_anew(
    bench: Bench, engine: ScriptedEngine
) -> None:
    job = bench.add()
    bench.tick()
    engine.orders[Key(job, 1)] = Observation(JobState.STARTING, reason="Resources")
    bench.tick()
    bench.clock.advance(PATIENCE_S - 1)
    bench.tick()
    assert engine.cancelled == []
    bench.clock.advance(2)
    bench.tick()
    assert (bench.job(job).state, engine.cancelled) == (JobState.STOPPING, [Key(job, 1)])
    engine.orders[Key(job, 1)] = Observation(JobState.CANCELLED)
    bench.tick()
    again = bench.job(job)
    assert (again.attempt, again.state, again.failures) == (2, JobState.STARTING, 0)
    assert engine.handed[-1] == Key(job, 2)


def test_what_is_wrong_with_the_job_itself_is_no_reason_to_place_it_anew(
    bench: Bench, engine: ScriptedEngine
) -> None:
    job = bench.add()
    bench.tick()
    engine.orders[Key(job, 1)] = Observation(JobState.STARTING, reason="ImagePullBackOff")
    bench.tick()
    bench.clock.advance(10 * PATIENCE_S)
    bench.tick()
    assert (bench.job(job).state, engine.cancelled) == (JobState.STARTING, [])


def test_a_job_that_begins_just_when_it_is_called_back_is_not_run_twice(
    bench: Bench, engine: ScriptedEngine
) -> None:
    job = bench.add()
    bench.tick()
    engine.orders[Key(job, 1)] = Observation(JobState.STARTING, reason="Resources")
    bench.tick()
    bench.clock.advance(PATIENCE_S)
    bench.tick()
    engine.say(job, JobState.CANCELLED)
    bench.tick()
    assert (bench.job(job).state, bench.job(job).attempt) == (JobState.PREEMPTED, 1)


def test_who_cancels_a_job_that_is_called_back_has_it_cancelled(bench: Bench, engine: ScriptedEngine) -> None:
    job = bench.add()
    bench.tick()
    engine.orders[Key(job, 1)] = Observation(JobState.STARTING, reason="Resources")
    bench.tick()
    bench.clock.advance(PATIENCE_S)
    bench.tick()
    bench.store.move(
        [Move(bench.job(job), JobState.STOPPING, "Cancelled", fields={"cancel_requested": True})], at=1.0
    )
    engine.orders[Key(job, 1)] = Observation(JobState.CANCELLED)
    bench.tick()
    assert bench.job(job).state is JobState.CANCELLED
