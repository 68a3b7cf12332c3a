"""The policy in force survives, and so does what the past tells of how long jobs run."""

from __future__ import annotations

from pathlib import Path

from stoker.control.past import Past
from stoker.job import Job, JobSpec, JobState
from stoker.schedule import Policy
from stoker.schedule.policy import Order
from stoker.store.database import Database
from stoker.store.jobs import Draft, JobStore, Move
from stoker.store.policy import PolicyStore


def opened(folder: Path) -> Database:
    database = Database(f"sqlite:///{folder / 'stoker.db'}", where=str(folder))
    database.migrate()
    return database


def test_the_policy_is_the_default_until_set_and_survives(tmp_path: Path) -> None:
    database = opened(tmp_path)
    store = PolicyStore(database)
    assert store.get() == Policy()
    wanted = Policy(Order.LIKELY_END, turn=7.0)
    PolicyStore(database).put(wanted)
    assert store.get() == wanted
    database.close()
    again = opened(tmp_path)
    assert PolicyStore(again).get() == wanted
    again.close()


def test_time_served_counts_all_attempts_that_ended(tmp_path: Path) -> None:
    database = opened(tmp_path)
    store = JobStore(database)
    [job] = store.add([Draft(JobSpec(command=("x",)))], tenant="t", owner="o", ship="", at=0.0)

    def move(job: Job, state: JobState, at: float, **fields: object) -> Job:
        [moved] = store.move([Move(job, state, fields=fields)], at=at)
        return moved

    for begin, end in ((10.0, 40.0), (100.0, 105.0)):
        job = move(job, JobState.STARTING, begin - 1, attempt=job.attempt + 1)
        job = move(job, JobState.RUNNING, begin, started_at=begin)
        job = move(job, JobState.STOPPING, end - 1)
        job = move(job, JobState.PENDING, end, started_at=None)
    past, policy = Past(store), Policy(Order.LIKELY_END)
    assert past.served(policy, [job]) == {job.id: 35.0}
    assert past.served(Policy(), [job]) == {}
    before = past.lifetimes(policy, 105.0, [job], {job.id: 35.0})
    job = move(job, JobState.STARTING, 110.0, attempt=3)
    job = move(job, JobState.RUNNING, 111.0, started_at=111.0)
    assert past.served(policy, [job]) == {job.id: 35.0}
    move(job, JobState.SUCCEEDED, 120.0, ended_at=120.0)
    after = Past(store).lifetimes(policy, 120.0, [], {})
    assert after.of((0, "t", "o"), 0.0) > before.of((0, "t", "o"), 0.0)
    database.close()
