"""An App on a fresh home, with its first admin."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stoker.account import Account
from stoker.app import App
from stoker.job import Job, JobState


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    app = App.open(tmp_path / "home", devices="H100:8", cpus=4)
    app.start()
    yield app
    stop_all(app)


@pytest.fixture
def who(app: App) -> Account:
    return admin_of(app)


def admin_of(app: App) -> Account:
    secret = app.accounts.bootstrap()
    assert secret
    return app.accounts.authenticate(secret)


def until(app: App, job: Job, who: Account, wanted: Callable[[Job], bool]) -> Job:
    """The job as soon as it is `wanted`."""
    for _ in range(600):
        seen = app.jobs.changed
        now = app.jobs.get(job.id, who)
        if wanted(now):
            return now
        app.jobs.wait_change(seen, 0.2)  # reasons of waiting jobs change without a move
    raise AssertionError(f"{now}")


def ended(app: App, job: Job, who: Account) -> Job:
    return until(app, job, who, lambda now: now.state.final)


def runs(app: App, job: Job, who: Account) -> Job:
    return until(app, job, who, lambda now: now.state is JobState.RUNNING)


def stop_all(app: App) -> None:
    """End what still runs, then stop."""
    engine = app.roster["local"]
    app.dispatcher.stop()
    engine.cancel([key for key, seen in engine.states().items() if not seen.state.final], grace=0)
    while not all(seen.state.final for seen in engine.states().values()):
        app.jobs.wait_change(app.jobs.changed, 0.02)
    app.stop()
