"""`kill -9` of the platform at random moments: nothing acknowledged is lost, nothing runs twice."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stoker.account import Account, Role
from stoker.app import App
from stoker.engine import Key
from stoker.job import Job, JobState
from tests.control.conftest import stop_all

WHO = Account("ak-test", "tester", Role.ADMIN, "default", 0.0)
_JOBS = 4  # in one submission
_PROGRAM = Path(__file__).with_name("submitter.py")


@pytest.mark.parametrize("seed", range(5))
def test_nothing_is_lost_and_nothing_runs_twice(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311 -- repeatable on purpose
    told = tmp_path / "acknowledged"
    for mark in dice.choices(("born", "open"), weights=(1, 4), k=3):
        platform = _start(tmp_path, told, mark=mark)
        time.sleep(dice.uniform(0.0, 0.25))  # the moment is the test's subject: from the first call to idle
        os.kill(platform.pid, signal.SIGKILL)
        platform.wait()
    acknowledged = [int(line) for line in told.read_text().split()] if told.exists() else []
    app = App.open(tmp_path / "home", cpus=4)
    app.start()
    try:
        jobs = _all_ended(app)
    finally:
        stop_all(app)
    assert {job.id for job in jobs} >= set(acknowledged)
    for job in jobs:
        runs = (tmp_path / "ran" / str(job.id)).read_text().split()
        assert runs == ["1"], f"job {job.id} ran in the attempts {runs}"
        assert (job.state, job.exit_code, job.attempt) == (JobState.FAILED, job.id % 200 + 1, 1)
        assert app.roster["local"].logs(_key(job)) == f"begin {job.id}\nend {job.id}\n".encode()


def test_running_jobs_go_on_and_are_taken_up_again(tmp_path: Path) -> None:
    platform = _start(tmp_path, tmp_path / "acknowledged", hold=True)
    began = tmp_path / "ran" / "1"
    while not (began.exists() and began.read_text()):
        time.sleep(0.01)
    os.kill(platform.pid, signal.SIGKILL)
    platform.wait()
    app = App.open(tmp_path / "home", cpus=4)
    app.start()
    try:
        (tmp_path / "go").touch()
        jobs = _all_ended(app)
    finally:
        stop_all(app)
    assert {(job.state, job.attempt) for job in jobs} == {(JobState.FAILED, 1)}
    assert app.roster["local"].logs(_key(jobs[0])).endswith(f"end {jobs[0].id}\n".encode())


def test_what_was_being_cancelled_ends_cancelled(tmp_path: Path) -> None:
    platform = _start(tmp_path, tmp_path / "acknowledged", hold=True)
    began = tmp_path / "ran" / "1"
    while not (began.exists() and began.read_text()):
        time.sleep(0.01)
    os.kill(platform.pid, signal.SIGKILL)
    platform.wait()
    app = App.open(tmp_path / "home", cpus=4)
    app.jobs.cancel([job.id for job in app.jobs.find(WHO)], WHO)  # recorded, but no loop runs yet
    app.stop()
    again = App.open(tmp_path / "home", cpus=4)
    again.start()
    try:
        jobs = _all_ended(again)
    finally:
        stop_all(again)
    assert {job.state for job in jobs} == {JobState.CANCELLED}


def _start(tmp_path: Path, told: Path, *, hold: bool = False, mark: str = "open") -> subprocess.Popen[bytes]:
    """A platform process that submits jobs and acknowledges them in `told`, once it has come to `mark`."""
    (tmp_path / "ran").mkdir(exist_ok=True)
    settings = {
        "home": str(tmp_path / "home"),
        "told": str(told),
        "ran": str(tmp_path / "ran"),
        "go": str(tmp_path / "go") if hold else "",
        "jobs": _JOBS,
    }
    process = subprocess.Popen([sys.executable, str(_PROGRAM), json.dumps(settings)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    while process.stdout.readline() != f"{mark}\n".encode():
        assert process.poll() is None
    process.stdout.close()
    return process


def _key(job: Job) -> Key:
    return Key(job.id, job.attempt)


def _all_ended(app: App) -> list[Job]:
    for _ in range(3000):
        seen = app.jobs.changed
        jobs = app.jobs.find(WHO, limit=1000)
        if all(job.state.final for job in jobs):
            return jobs
        app.jobs.wait_change(seen, 0.1)
    raise AssertionError([job for job in jobs if not job.state.final])
