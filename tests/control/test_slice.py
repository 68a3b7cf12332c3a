"""Open a home, submit, wait, read the log, cancel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stoker.account import Account
from stoker.app import App
from stoker.job import Job, JobSpec, JobState


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    app = App.open(tmp_path / "home")
    app.start()
    yield app
    app.stop()


@pytest.fixture
def who(app: App) -> Account:
    secret = app.accounts.bootstrap()
    assert secret
    return app.accounts.authenticate(secret)


def ended(app: App, job: Job, who: Account) -> Job:
    seen = 0
    while not (now := app.jobs.get(job.id, who)).state.final:
        seen = app.jobs.wait_change(seen, 30)
    return now


def test_a_job_runs_and_its_log_and_exit_code_are_kept(app: App, who: Account) -> None:
    (job,) = app.jobs.submit([JobSpec(command=("sh", "-c", "echo hello; exit 3"))], who)
    over = ended(app, job, who)
    assert (over.state, over.exit_code, over.reason) == (JobState.FAILED, 3, "NonZeroExitCode")
    assert app.jobs.logs(job.id, who) == b"hello\n"
    states = [event.state for event in app.jobs.events(job.id, who)]
    assert states == [JobState.PENDING, JobState.STARTING, JobState.RUNNING, JobState.FAILED]


def test_a_running_job_can_be_cancelled(app: App, who: Account) -> None:
    (job,) = app.jobs.submit([JobSpec(command=("sleep", "600"))], who)
    seen = 0
    while app.jobs.get(job.id, who).state is not JobState.RUNNING:
        seen = app.jobs.wait_change(seen, 30)
    app.jobs.cancel([job.id], who)
    assert ended(app, job, who).state is JobState.CANCELLED
