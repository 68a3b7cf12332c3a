"""A full disk: one line for who asked, nothing half-made, and all goes on when there is room again."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from stoker.account import Account, Role
from stoker.app import App
from stoker.errors import NoSpace
from stoker.job import JobSpec, JobState, Resources
from tests.control.conftest import ended, runs, stop_all

WHO = Account("ak-test", "tester", Role.ADMIN, "default", 0.0)
_SIZE = 12 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", str(disk)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small disk needs root and the right to mount")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.fixture
def app(small_disk: Path) -> Iterator[App]:
    app = App.open(small_disk / "home", cpus=4)
    app.start()
    yield app
    stop_all(app)


def fill(disk: Path) -> Path:
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while file.write(b"x" * size) == size:
                    pass
            except OSError:
                continue
    return filler


def submit_until_full(app: App) -> None:
    """The log of the database has some room of its own left, so not the first one fails."""
    spec = JobSpec(command=("x" * 4000,), array=tuple(range(50)), resources=Resources(cpus=4))
    for _ in range(1000):
        app.jobs.submit([spec], WHO)


def test_submissions_are_refused_in_one_line_and_go_on_later(app: App, small_disk: Path) -> None:
    before = app.jobs.submit([JobSpec(command=("true",))], WHO)[0]
    ended(app, before, WHO)
    filler = fill(small_disk)
    with pytest.raises(NoSpace, match=r"no space left for .*; free some and try again"):
        submit_until_full(app)
    stored = len(app.jobs.find(WHO, limit=1000))
    assert stored % 50 == 1  # each submission whole or not at all
    filler.unlink()
    after = app.jobs.submit([JobSpec(command=("true",), priority=100)], WHO)[0]
    assert ended(app, after, WHO).state is JobState.SUCCEEDED


def test_a_job_that_ends_on_a_full_disk_is_not_lost(app: App, small_disk: Path, tmp_path: Path) -> None:
    job = app.jobs.submit(
        [JobSpec(command=("sh", "-c", f"while [ ! -e {tmp_path}/go ]; do sleep 0.02; done; exit 4"))], WHO
    )[0]
    runs(app, job, WHO)
    filler = fill(small_disk)
    (tmp_path / "go").touch()
    waiting = app.jobs.wait_change(app.jobs.changed, 0.5)
    assert waiting >= 0
    assert app.jobs.get(job.id, WHO).state is JobState.RUNNING
    filler.unlink()
    over = ended(app, job, WHO)
    assert (over.state, over.exit_code) == (JobState.FAILED, 4)


def test_an_upload_that_does_not_fit_leaves_nothing(app: App, small_disk: Path) -> None:
    with pytest.raises(NoSpace, match="for the upload; free some and try again"):
        app.files.create((b"x" * (1 << 20) for _ in range(_SIZE >> 20)), "a.txt", "fine-tune", WHO)
    assert app.files.list(WHO) == []
    assert list(app.home.files.iterdir()) == []
    assert app.files.create([b"x"], "a.txt", "fine-tune", WHO).size == 1
