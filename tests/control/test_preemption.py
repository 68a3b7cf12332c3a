"""Jobs that give their devices back because somebody else needs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from stoker.app import App
from stoker.cluster import Node
from stoker.control.preemption import preempt
from stoker.control.saves import EVERY_S
from stoker.engine import Key, Order
from stoker.job import JobSpec, JobState, Resources
from stoker.store.jobs import JobStore
from tests.control.conftest import admin_of, ended, runs, until
from tests.control.test_loop import Bench, ScriptedEngine


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine()


@pytest.fixture
def bench(tmp_path: Path, engine: ScriptedEngine) -> Iterator[Bench]:
    bench = Bench(tmp_path, engine)
    yield bench
    bench.database.close()


def begun(bench: Bench, engine: ScriptedEngine, *, requeue: bool = True) -> int:
    job = bench.add(requeue=requeue)
    bench.tick()
    engine.say(job, JobState.RUNNING)
    bench.tick()
    return job


def test_it_is_ended_once_and_goes_back_to_the_queue(bench: Bench, engine: ScriptedEngine) -> None:
    job = begun(bench, engine)
    assert len(preempt(bench.store, [job], "preempted: a move", 1.0)) == 1
    assert preempt(bench.store, [job], "preempted: a move", 1.0) == []  # asked already
    bench.tick()
    assert engine.cancelled == [Key(job, 1)]
    assert bench.job(job).state is JobState.STOPPING
    engine.say(job, JobState.CANCELLED, ended_at=99.0)
    bench.tick()
    told = [(event.state, event.reason, event.message) for event in bench.store.events(job)]
    assert (JobState.STOPPING, "Preempted", "preempted: a move") in told
    assert (JobState.PENDING, "Requeued", "attempt 1 ended: preempted: a move") in told
    assert engine.handed == [Key(job, 1), Key(job, 2)]


def test_one_that_may_not_be_requeued_is_left_alone(bench: Bench, engine: ScriptedEngine) -> None:
    job = begun(bench, engine, requeue=False)
    assert preempt(bench.store, [job], "preempted: a move", 1.0) == []
    assert bench.job(job).state is JobState.RUNNING


def test_one_that_ends_by_itself_in_that_moment_has_ended(bench: Bench, engine: ScriptedEngine) -> None:
    job = begun(bench, engine)
    preempt(bench.store, [job], "preempted: a move", 1.0)
    engine.say(job, JobState.SUCCEEDED, exit_code=0)
    bench.tick()
    assert bench.job(job).state is JobState.SUCCEEDED


def test_one_that_its_engine_has_lost_is_requeued_all_the_same(bench: Bench, engine: ScriptedEngine) -> None:
    job = begun(bench, engine)
    preempt(bench.store, [job], "preempted: a move", 1.0)
    del engine.orders[Key(job, 1)]
    bench.tick()
    assert bench.job(job).state in (JobState.PENDING, JobState.STARTING)


class Telling(ScriptedEngine):
    """Knows when its jobs saved themselves, and counts how often it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.saves: dict[Key, float] = {}
        self.asked_for: list[int] = []  # jobs of each question

    def inventory(self) -> tuple[Node, ...]:
        self._answer()
        return (Node(f"{self.name}-1", self.name, 100, 1 << 40),)

    def saved(self, keys: Sequence[Key]) -> Mapping[Key, float]:
        self._answer()
        self.asked_for.append(len(keys))
        return {key: at for key, at in self.saves.items() if key in keys}


@pytest.mark.parametrize("count", [1, 90])
def test_an_engine_is_asked_as_often_for_many_jobs_as_for_one(tmp_path: Path, count: int) -> None:
    engine = Telling()
    bench = Bench(tmp_path, engine)
    jobs = [bench.add() for _ in range(count)]
    bench.tick()
    for job in jobs:
        engine.say(job, JobState.RUNNING)
    bench.clock.advance(EVERY_S)
    for _ in range(60):  # a minute, and many passes in it
        bench.tick()
        bench.tick()
        bench.clock.advance(1.0)
    assert engine.asked_for == [count] * 12
    bench.database.close()


def test_what_an_attempt_saved_counts_for_it_alone(tmp_path: Path) -> None:
    engine = Telling()
    bench = Bench(tmp_path, engine)
    job = begun(bench, engine)
    engine.saves[Key(job, 1)] = saved = bench.clock.now() + 3.0
    bench.clock.advance(EVERY_S)
    bench.tick()
    assert bench.job(job).checkpointed_at == saved
    engine.saves[Key(job, 1)] = bench.clock.now() + 1e9  # a clock that is wrong
    bench.clock.advance(EVERY_S)
    bench.tick()
    assert bench.job(job).checkpointed_at == bench.clock.now()
    old = bench.job(job)
    engine.say(job, JobState.NODE_FAIL, ended_at=99.0)
    bench.tick()
    bench.tick()
    assert (bench.job(job).attempt, bench.job(job).checkpointed_at) == (2, None)
    bench.store.note_saved([old])  # told late, of the attempt before
    assert bench.job(job).checkpointed_at is None
    engine.say(job, JobState.RUNNING, attempt=2)
    bench.clock.advance(EVERY_S)
    bench.tick()
    assert bench.job(job).checkpointed_at is None
    bench.database.close()


def test_the_one_goes_that_saved_itself_last(app: App, tmp_path: Path) -> None:
    """It is the older one of two: without its word, the younger one would have gone."""
    who = admin_of(app)
    low = {"resources": Resources(accelerators=4), "priority": 10, "preemptible": True, "min_runtime": 0.0}
    go = tmp_path / "go"
    saves = f'while [ ! -e {go} ]; do sleep 0.02; done; touch "$STOKER_SAVED"; sleep 600'
    older, younger = (
        runs(app, app.jobs.submit([JobSpec(command=("sh", "-c", text), **low)], who)[0], who)  # type: ignore[arg-type]
        for text in (saves, "sleep 600")
    )
    assert "nothing tells of a checkpoint" in "".join(app.jobs.why(older.id, who).evidence)
    go.touch()
    saved = until(app, older, who, lambda now: now.checkpointed_at is not None)
    assert (saved.checkpointed_at or 0.0) > younger.submitted_at
    assert "since it last saved itself" in "".join(app.jobs.why(older.id, who).evidence)
    [urgent] = app.jobs.submit([JobSpec(command=("true",), resources=Resources(accelerators=1), priority=90)], who)
    ended(app, urgent, who)
    told = [event.message for event in app.jobs.events(older.id, who) if event.reason == "Preempted"]
    assert len(told) == 1
    assert told[0].startswith(f"preempted for job {urgent.id}, of priority 90; loses ")
    assert app.jobs.get(younger.id, who).state is JobState.RUNNING


def test_whoever_cancels_it_meanwhile_wins(app: App) -> None:
    who = admin_of(app)
    text = "trap 'sleep 1; exit 0' TERM; echo up; while :; do sleep 0.05; done"
    spec = JobSpec(command=("sh", "-c", text), requeue=True)
    [job] = app.jobs.submit([spec], who)
    runs(app, job, who)
    until(app, job, who, lambda _now: app.jobs.logs(job.id, who) == b"up\n")
    preempt(JobStore(app.database), [job.id], "preempted: a move", 1.0)
    app.dispatcher.wake()
    app.jobs.cancel([job.id], who)
    over = ended(app, job, who)
    assert (over.state, over.attempt) == (JobState.CANCELLED, 1)


# for a job that waits


class Room(ScriptedEngine):
    """Two nodes with two CPUs each."""

    def inventory(self) -> tuple[Node, ...]:
        self._answer()
        return tuple(Node(f"fake-{number}", self.name, 2, 1 << 30) for number in (1, 2))


@pytest.fixture
def room(tmp_path: Path) -> Iterator[tuple[Bench, Room]]:
    engine = Room()
    bench = Bench(tmp_path, engine)
    yield bench, engine
    bench.database.close()


WHOLE = Resources(cpus=2)
LOW = {"resources": WHOLE, "priority": 10, "preemptible": True, "min_runtime": 0.0}


def run_low(bench: Bench, engine: Room, count: int) -> list[int]:
    jobs = [bench.add(**LOW) for _ in range(count)]
    bench.tick()
    for job in jobs:
        engine.say(job, JobState.RUNNING)
    bench.tick()
    return jobs


def test_a_gang_gets_in_and_those_who_went_come_back(room: tuple[Bench, Room]) -> None:
    bench, engine = room
    low = run_low(bench, engine, 2)
    high = bench.add(resources=WHOLE, nodes=2, priority=80)
    bench.tick()
    assert engine.cancelled == [Key(job, 1) for job in low]
    assert {bench.job(job).gives_way_to for job in low} == {high}
    engine.say(low[0], JobState.CANCELLED, ended_at=99.0)
    bench.tick()  # one is gone, and its node stays empty
    assert [bench.job(job).state for job in (*low, high)] == [
        JobState.PENDING,
        JobState.STOPPING,
        JobState.PENDING,
    ]
    engine.say(low[1], JobState.CANCELLED, ended_at=99.0)
    bench.tick()
    assert bench.job(high).state is JobState.STARTING
    assert len(bench.job(high).placements) == 2
    engine.say(high, JobState.SUCCEEDED)
    bench.clock.advance(1000.0)
    bench.tick()
    assert [bench.job(job).state for job in low] == [JobState.STARTING] * 2
    assert {bench.job(job).gives_way_to for job in low} == {None}


def test_their_room_is_not_given_to_whoever_comes_next(room: tuple[Bench, Room]) -> None:
    bench, engine = room
    low = run_low(bench, engine, 2)
    high = bench.add(resources=WHOLE, nodes=2, priority=80)
    bench.tick()
    other = bench.add(resources=WHOLE, priority=70, time_limit=1.0)
    for job in low:
        engine.say(job, JobState.CANCELLED, ended_at=99.0)
        bench.tick()
        assert bench.job(other).state is JobState.PENDING
    assert bench.job(high).state is JobState.STARTING


@pytest.mark.parametrize("killed_at", range(8))
def test_a_platform_killed_at_any_step_brings_it_to_the_same_end(
    room: tuple[Bench, Room], killed_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every write and every call to the engine is a step; the platform dies just before one of them."""
    bench, engine = room
    low = run_low(bench, engine, 2)
    high = bench.add(resources=WHOLE, nodes=2, priority=80)
    steps = iter(range(1000))

    def step() -> None:
        if next(steps) == killed_at:
            raise Killed

    def dying(call: Callable[..., Any]) -> Callable[..., Any]:
        def called(what: Sequence[object], **more: object) -> object:
            if what:
                step()
            return call(what, **more)

        return called

    for owner, name in ((bench.store, "move"), (engine, "cancel"), (engine, "submit")):
        monkeypatch.setattr(owner, name, dying(getattr(owner, name)))
    for _ in range(8):
        try:
            bench.tick()
        except Killed:
            bench.restart()
        for job in low:
            if Key(job, 1) in engine.cancelled and Key(job, 1) in engine.orders:
                engine.say(job, JobState.CANCELLED, ended_at=99.0)
    assert bench.job(high).state is JobState.STARTING
    assert [bench.job(job).state for job in low] == [JobState.PENDING] * 2
    assert engine.handed == [*(Key(job, 1) for job in low), Key(high, 1)]


class Killed(BaseException):
    """The platform has been killed right here."""


def test_who_is_warned_has_longer(room: tuple[Bench, Room], monkeypatch: pytest.MonkeyPatch) -> None:
    bench, engine = room
    graces: list[float] = []
    monkeypatch.setattr(engine, "cancel", lambda _keys, *, grace: graces.append(grace))
    job = bench.add(**LOW, checkpoint_signal="USR1", checkpoint_lead=90.0, grace=5.0)
    bench.tick()
    engine.say(job, JobState.RUNNING)
    bench.tick()
    bench.add(resources=WHOLE, nodes=2, priority=80)
    bench.tick()
    assert graces == [95.0]


def test_one_that_ends_well_while_it_is_told_to_go_is_done(room: tuple[Bench, Room]) -> None:
    bench, engine = room
    low = run_low(bench, engine, 2)
    high = bench.add(resources=WHOLE, nodes=2, priority=80)
    bench.tick()
    engine.say(low[0], JobState.SUCCEEDED, exit_code=0)
    engine.say(low[1], JobState.CANCELLED, ended_at=99.0)
    bench.tick()
    assert bench.job(low[0]).state is JobState.SUCCEEDED
    assert bench.job(high).state is JobState.STARTING


def test_an_elastic_job_goes_on_with_the_nodes_that_are_left(room: tuple[Bench, Room]) -> None:
    bench, engine = room
    handed: list[tuple[int, int]] = []  # nodes of the order, and where it is placed
    submit = engine.submit

    def submitted(orders: Sequence[Order]) -> Mapping[Key, str]:
        handed.extend((order.spec.nodes, len(order.placements)) for order in orders)
        return submit(orders)

    engine.submit = submitted  # type: ignore[method-assign]
    job = bench.add(**LOW, nodes=2, min_nodes=1)
    bench.tick()
    engine.say(job, JobState.RUNNING)
    bench.tick()
    high = bench.add(resources=WHOLE, priority=80)
    bench.tick()
    engine.say(job, JobState.CANCELLED, ended_at=99.0)
    bench.tick()
    assert [bench.job(one).state for one in (high, job)] == [JobState.STARTING] * 2
    assert handed == [(2, 2), (1, 1), (1, 1)]
    assert bench.job(job).spec.nodes == 2
