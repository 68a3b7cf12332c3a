"""The queue desk on a running platform: rights, what a change does at once, and what survives a restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from stoker.account import Account, Role
from stoker.app import App
from stoker.control.consumption import Consumption
from stoker.errors import BadInput, Conflict, Denied, NotFound, Unfit
from stoker.job import Job, JobSpec, JobState, Placement, Resources
from stoker.queue import Queue, accrued, decayed
from stoker.queue_window import Window
from stoker.schedule import Quantity
from stoker.store.database import Database
from stoker.store.jobs import Draft, JobStore, Move
from stoker.store.queues import QueueStore
from tests.control.conftest import admin_of, runs, stop_all, until


def user(app: App, who: Account, name: str, tenant: str) -> Account:
    return app.accounts.create(name, Role.USER, tenant, who)[0]


def spec(gpus: int = 1, **fields: object) -> JobSpec:
    return JobSpec(
        command=("sleep", "600"),
        resources=Resources(accelerators=gpus, cpus=0),
        **fields,  # type: ignore[arg-type]
    )


def test_only_admins_change_queues_and_users_see_and_use_their_tenants(app: App, who: Account) -> None:
    speech = user(app, who, "sam", "speech")
    app.queues.add(Queue("speech", tenants=("speech",)), who)
    app.queues.add(Queue("vision", tenants=("vision",)), who)
    app.queues.add(Queue("all"), who)
    with pytest.raises(Denied, match="admin is needed to change queues"):
        app.queues.add(Queue("mine"), speech)
    with pytest.raises(Denied):
        app.queues.remove("speech", speech)
    assert [standing.queue.name for standing in app.queues.find(speech)] == ["all", "speech"]
    with pytest.raises(NotFound):
        app.queues.get("vision", speech)
    with pytest.raises(BadInput, match='no queue "vision"'):
        app.jobs.submit([spec(queue="vision")], speech)
    with pytest.raises(BadInput, match=r'no queue "visio".*near names: vision'):
        app.jobs.submit([spec(queue="visio")], who)
    assert app.jobs.submit([spec(queue="all"), spec()], speech)[1].spec.queue == "speech"


def test_wrong_trees_are_refused_and_change_nothing(app: App, who: Account) -> None:
    app.queues.add(Queue("t", deserved=4), who)
    for wrong, told in [
        (Queue("a", parent="nobody"), "does not exist"),
        (Queue("a", parent="t", deserved=5), "raise its deserved to 5"),
        (Queue("t", parent="t2"), "does not exist"),
    ]:
        with pytest.raises(BadInput, match=told):
            app.queues.put([wrong], who)
    with pytest.raises(Conflict, match="stoker queue set"):
        app.queues.add(Queue("t"), who)
    with pytest.raises(BadInput, match="each other's parents"):
        app.queues.put([Queue("x", parent="y"), Queue("y", parent="x")], who)
    app.queues.add(Queue("a", parent="t", deserved=4), who)
    with pytest.raises(Conflict, match="queues below it: a"):
        app.queues.remove("t", who)
    with pytest.raises(BadInput, match="only holds other queues; give one of them: a"):
        app.jobs.submit([spec(queue="t")], who)
    assert [standing.queue.name for standing in app.queues.find(who)] == ["t", "a"]
    assert [standing.queue.name for standing in app.queues.put([Queue("z")], who, prune=True)] == ["z"]
    assert [standing.queue.name for standing in app.queues.find(who)] == ["z"]


def test_a_change_takes_effect_at_once(app: App, who: Account) -> None:
    app.queues.add(Queue("a", ceiling=1), who)
    first, second = app.jobs.submit([spec(queue="a"), spec(queue="a")], who)
    runs(app, first, who)
    waiting = until(app, second, who, lambda job: job.reason == "AssocGrpGRES")
    assert waiting.message == 'queue "a" may hold 1 devices and holds 1; this job wants 1'
    standing = app.queues.get("a", who)
    assert (standing.held, standing.borrowed, standing.waiting) == (1, 1, 1)
    assert (standing.running_jobs, standing.waiting_jobs, standing.capacity) == (1, 1, 8)
    app.queues.put([Queue("a", ceiling=2)], who)
    runs(app, second, who)


def test_what_can_never_start_is_refused_at_submit(app: App, who: Account) -> None:
    app.queues.add(Queue("a", ceiling=2, windows=(Window("Mon-Sun 20:00-08:00", ceiling=4),)), who)
    app.jobs.submit([spec(4, queue="a")], who)
    with pytest.raises(Unfit, match='asks for 5 devices; queue "a" may hold 4 at most'):
        app.jobs.submit([spec(5, queue="a")], who)
    now = app.clock.now()
    with pytest.raises(Unfit, match=r"cannot keep its deadline, which is in \d+ min .* s; the job may take 1 h"):
        app.jobs.submit([spec(queue="a", deadline=now + 1000, time_limit=3600.0)], who)
    with pytest.raises(Unfit, match="past since"):
        app.jobs.submit([spec(queue="a", deadline=now - 5)], who)
    app.jobs.submit([spec(queue="a", deadline=now + 9999, time_limit=3600.0)], who)


def test_queues_survive_a_restart_and_jobs_of_a_removed_one_go_on(tmp_path: Path) -> None:
    app = App.open(tmp_path / "home", devices="H100:8", cpus=4)
    who = admin_of(app)
    app.queues.add(Queue("a", ceiling=0, windows=(Window("Mon 00:00-00:01", weight=2),)), who)
    job = app.jobs.submit([spec(0, queue="a")], who)[0]
    app.stop()
    app = App.open(tmp_path / "home", devices="H100:8", cpus=4)
    assert app.queues.get("a", who).queue == Queue("a", ceiling=0, windows=(Window("Mon 00:00-00:01", weight=2),))
    app.queues.remove("a", who)
    app.start()
    runs(app, job, who)
    stop_all(app)


def test_what_a_queue_lacks_of_its_right_is_told(app: App, who: Account) -> None:
    app.queues.put([Queue("a", deserved=4), Queue("b", deserved=4)], who)
    for job in app.jobs.submit([spec(3, queue="a"), spec(5, queue="b")], who):
        runs(app, job, who)
    assert app.queues.get("a", who).owed == 0
    waits = app.jobs.submit([spec(2, queue="a")], who)[0]
    until(app, waits, who, lambda _: app.queues.get("a", who).owed > 0)
    assert app.queues.get("b", who).owed == 0


QUEUES = {"a": Queue("a", half_life=1000.0)}
QUANTITY = Quantity((), ())


def test_what_was_borrowed_is_taken_back_and_says_so(app: App, who: Account) -> None:
    app.queues.put([Queue("a", deserved=4), Queue("b", deserved=4)], who)
    [lent] = app.jobs.submit([spec(6, queue="a", preemptible=True, min_runtime=0.0, grace=1.0)], who)
    runs(app, lent, who)
    [owner] = app.jobs.submit([spec(4, queue="b", priority=0)], who)
    runs(app, owner, who)
    told = [event.message for event in app.jobs.events(lent.id, who) if event.reason == "Preempted"]
    assert [text.partition(";")[0] for text in told] == [
        f'preempted for job {owner.id}, as queue "b" takes back what it deserves'
    ]


def running(store: JobStore, since: float, devices: int = 2) -> Job:
    [job] = store.add([Draft(spec(devices, queue="a"))], tenant="t", owner="o", ship="", at=since)
    place = {"placements": (Placement("n", tuple(range(devices))),), "engine": "local", "attempt": 1}
    [job] = store.move([Move(job, JobState.STARTING, fields=place)], at=since)
    [job] = store.move([Move(job, JobState.RUNNING, fields={"started_at": since})], at=since)
    return job


def test_use_is_found_again_after_a_kill(tmp_path: Path) -> None:
    """What was not noted before the kill, and what ran while nobody looked, is the same as if nothing had been."""
    database = Database(f"sqlite:///{tmp_path / 'db'}")
    database.migrate()
    jobs, store = JobStore(database), QueueStore(database)
    killed = Consumption(store, jobs)
    job = running(jobs, 100.0)
    killed.until(100.0, QUEUES, (), QUANTITY)
    killed.until(200.0, QUEUES, [job], QUANTITY)  # noted
    killed.until(230.0, QUEUES, [job], QUANTITY)  # not noted
    ended = {"ended_at": 500.0}
    jobs.move([Move(job, JobState.SUCCEEDED, fields=ended)], at=500.0)
    again = Consumption(store, jobs).until(900.0, QUEUES, (), QUANTITY)
    assert again[("a", ("t", "o"))] == pytest.approx(decayed(accrued(2, 400.0, 1000.0), 400.0, 1000.0), rel=1e-9)
    database.close()


def test_use_that_has_faded_is_forgotten(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'db'}")
    database.migrate()
    jobs, store = JobStore(database), QueueStore(database)
    count = Consumption(store, jobs)
    job = running(jobs, 0.0)
    count.until(0.0, QUEUES, (), QUANTITY)
    assert count.until(1000.0, QUEUES, [job], QUANTITY)[("a", ("t", "o"))] == pytest.approx(2000 / 1.386294, 1e-5)
    assert count.until(50_000.0, QUEUES, (), QUANTITY) == {}
    assert store.usage()[0] == {}
    database.close()
