"""examples/slurm on a real Slurm, from `stoker up` and `stoker engine add`; and a platform killed in the middle."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import stoker
from tests.labs.slurm import SlurmLab

from .platform import Platform

pytestmark = [pytest.mark.slow, pytest.mark.slurm]
STORY = Path(__file__).parents[2] / "examples" / "slurm" / "story.py"


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    platform = Platform(tmp_path / "home")
    platform.start().close()
    yield platform
    platform.kill()


def told(platform: Platform, *argv: str) -> str:
    """What a program prints that knows the platform."""
    environment = {**os.environ, "STOKER_URL": platform.url, "STOKER_API_KEY": platform.key, "LANG": "C"}
    ran = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=280)
    assert ran.returncode == 0, f"{argv}: {ran.stdout} {ran.stderr}"
    return ran.stdout


def add(platform: Platform, slurm: SlurmLab, folder: Path) -> None:
    options = ("--conf", str(slurm.conf), "--folder", str(folder / "shared"), "--site", "on-prem")
    assert "nodes 4" in told(platform, sys.executable, "-m", "stoker", "engine", "add", "slurm", "hpc", *options)


def test_the_story(platform: Platform, slurm: SlurmLab, tmp_path: Path) -> None:
    add(platform, slurm, tmp_path)
    slurm.submit_other("-w", "gpu3", "--gpus-per-node=1")
    said = told(platform, sys.executable, str(STORY), "hpc")
    assert "hpc: 4 nodes, 32 devices" in said
    for seed in range(3):
        assert f"seed {seed}, attempt 1 on gpu" in said
    for rank in range(2):
        assert f"rank {rank} of 2 on gpu" in said
    assert said.rstrip().endswith("endless: cancelled")
    assert slurm.run("squeue", "-h", "-u", "root", "-o", "%A") == ""


def test_killed_while_a_job_runs_on_slurm(platform: Platform, slurm: SlurmLab, tmp_path: Path) -> None:
    add(platform, slurm, tmp_path)
    client = platform.client()
    text = f"echo x >> {tmp_path}/ran; while [ ! -e {tmp_path}/go ]; do sleep 0.1; done; exit 3"
    (job,) = client.jobs.submit(stoker.JobSpec(command=("sh", "-c", text), engine="hpc"))
    while not (tmp_path / "ran").exists():
        client.jobs.get(job.id)
    client.close()
    platform.kill()
    (tmp_path / "go").touch()
    client = platform.start()
    (ended,) = client.jobs.wait(job.id, timeout=120)
    assert (ended.state, ended.exit_code, ended.attempt) == (stoker.JobState.FAILED, 3, 1)
    assert (tmp_path / "ran").read_text() == "x\n"
    client.close()
