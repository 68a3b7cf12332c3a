"""Jobs that give their devices back because somebody else needs them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stoker.app import App
from stoker.control.preemption import preempt
from stoker.engine import Key
from stoker.job import JobSpec, JobState
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
