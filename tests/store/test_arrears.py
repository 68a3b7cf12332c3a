"""What queues were short of outlives the process, on every database, and costs nothing while nothing changes."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

import pytest
from sqlalchemy import event

from stoker.account import Account
from stoker.app import App
from stoker.clock import ManualClock
from stoker.cluster import Device, Node
from stoker.control.arrears import Arrears
from stoker.control.changes import Changes
from stoker.control.loop import Dispatcher
from stoker.control.roster import Roster
from stoker.job import JobSpec, JobState, Resources
from stoker.queue import Queue
from stoker.schedule import Policy
from stoker.schedule.branch import MADE_UP_S
from stoker.store.database import Database
from stoker.store.jobs import Draft, JobStore
from stoker.store.lease import Lease
from stoker.store.queues import QueueStore
from tests.control.conftest import admin_of, runs, stop_all
from tests.control.test_loop import ScriptedEngine

EQUAL = [Queue("a", deserved=4), Queue("b", deserved=4)]


def spec(gpus: int, queue: str, **fields: object) -> JobSpec:
    need = Resources(accelerators=gpus, cpus=0)
    return JobSpec(command=("sleep", "600"), queue=queue, resources=need, **fields)  # type: ignore[arg-type]


class Pool(ScriptedEngine):
    """Nine devices, and jobs that run as soon as they are handed over."""

    def inventory(self) -> tuple[Node, ...]:
        return (Node("n", self.name, 64, 1 << 40, tuple(Device(index, "H100") for index in range(9))),)

    def run(self) -> None:
        for key, seen in self.orders.items():
            if seen.state is JobState.STARTING:
                self.say(key.job, JobState.RUNNING, key.attempt)


class Platform:
    """A dispatcher over a database, with a clock that is set by hand; `kill` leaves it without a word."""

    def __init__(self, url: str) -> None:
        self.database = Database(url)
        self.database.migrate()
        self.jobs, self.queues = JobStore(self.database), QueueStore(self.database)
        self.queues.change(lambda _: {queue.name: queue for queue in EQUAL})
        self.engine, self.clock = Pool(), ManualClock()
        self.lease = Lease(self.database)
        self.begin()

    def begin(self) -> None:
        self.dispatcher = Dispatcher(
            self.jobs, Roster.of(self.engine), self.lease, Changes(), self.clock, queues=self.queues.all,
            policy=lambda: Policy(min_runtime=0.0), arrears=Arrears(self.queues),
        )  # fmt: skip

    def submit(self, *specs: JobSpec) -> list[int]:
        drafts = [Draft(one) for one in specs]
        return [job.id for job in self.jobs.add(drafts, tenant="t", owner="o", ship="", at=self.clock.now())]

    def tick(self, seconds: float = 0.0) -> None:
        self.clock.advance(seconds)
        self.dispatcher.tick()
        self.engine.run()
        self.dispatcher.tick()

    def owed(self) -> dict[str, float]:
        return dict(self.dispatcher.seen.credit)

    def close(self) -> None:
        self.lease.release()
        self.database.close()


@pytest.fixture
def platform(url: str) -> Iterator[Platform]:
    platform = Platform(url)
    yield platform
    platform.close()


def test_a_right_that_was_earned_before_a_restart_is_had_after_it(platform: Platform) -> None:
    """One device short, a queue may go beyond its right by one after a quarter of an hour: not a moment later for
    a restart in each minute of it."""
    lent = {"preemptible": True, "grace": 0.0}
    held = platform.submit(spec(3, "a"), *(spec(1, "b", **lent) for _ in range(6)))
    platform.tick()
    [waits] = platform.submit(spec(2, "a"))
    platform.tick()
    for minute in range(1, 15):
        platform.begin()
        platform.tick(60.0)
        assert platform.owed() == {"a": 60.0 * minute}
        assert platform.engine.cancelled == []
    platform.begin()
    platform.tick(MADE_UP_S - 14 * 60.0)
    assert len(platform.engine.cancelled) == 2
    assert {key.job for key in platform.engine.cancelled} < set(held[1:])
    assert platform.jobs.get(waits).state is JobState.PENDING


def test_nothing_is_written_while_nothing_changes(platform: Platform) -> None:
    platform.submit(spec(3, "a"), spec(5, "b"))
    platform.tick()
    platform.submit(spec(2, "a"))
    platform.tick()
    written: list[str] = []
    event.listen(
        platform.database._engine,
        "before_cursor_execute",
        lambda _c, _cursor, statement, *_rest: written.append(statement) if "queue_credit" in statement else None,
    )
    for _ in range(3):
        platform.tick(60.0)
    assert written == []
    assert platform.owed() == {"a": 180.0}
    platform.submit(spec(1, "a"))
    platform.tick()
    assert [statement.split()[0] for statement in written] == ["DELETE", "INSERT"], "its right is met"
    platform.tick(60.0)
    assert len(written) == 2


def _serve(home: str, url: str, told: Pipe) -> None:
    app = App.open(home, devices="H100:8", cpus=4, database=url)
    app.start()
    who = admin_of(app)
    app.queues.put(EQUAL, who)
    for job in app.jobs.submit([spec(3, "a"), spec(5, "b")], who):
        runs(app, job, who)
    app.jobs.submit([spec(2, "a")], who)
    while not app.queues.get("a", who).owed:
        time.sleep(0.01)
    told.send((who, app.clock.now(), app.queues.get("a", who).owed))
    time.sleep(600)


def test_what_a_queue_is_owed_outlives_a_kill(url: str, tmp_path: Path) -> None:
    here, there = multiprocessing.Pipe()
    home = str(tmp_path / "home")
    killed = multiprocessing.get_context("spawn").Process(target=_serve, args=(home, url, there), daemon=True)
    killed.start()
    assert here.poll(60), "nothing was owed within a minute"
    told: tuple[Account, float, float] = here.recv()
    killed.kill()
    killed.join()
    app = App.open(home, devices="H100:8", cpus=4, database=url)
    try:
        app.dispatcher.tick()
        owed = app.queues.get("a", told[0]).owed
        assert owed == pytest.approx(told[2] + app.clock.now() - told[1], abs=0.5)
        assert owed > told[2]
        app.start()
    finally:
        stop_all(app)
