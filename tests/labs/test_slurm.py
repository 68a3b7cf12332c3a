"""The lab itself: what other tests stand on."""

from __future__ import annotations

import pytest

from tests.labs.daemons import until
from tests.labs.slurm import SlurmLab

pytestmark = pytest.mark.slurm


def test_jobs_run_preempt_and_see_their_devices(slurm: SlurmLab) -> None:
    assert set(slurm.states().values()) == {"idle"}
    low = slurm.submit_other("-q", "low", "--requeue", "-w", "gpu0", "--exclusive")
    until(lambda: slurm.run("squeue", "-h", "-j", low, "-o", "%T") == "RUNNING", "the low job runs")
    out = slurm.folder / "seen"
    high = slurm.run(
        "sbatch", "--parsable", "-q", "high", "-w", "gpu0", "--gpus-per-node=2", "--mem=100",
        "-o", str(out), "--wrap", "echo $CUDA_VISIBLE_DEVICES",
    )  # fmt: skip
    until(lambda: out.exists() and out.read_text() == "0,1\n", f"job {high} writes")


@pytest.mark.slow
def test_a_dead_node_is_told_and_healed(slurm: SlurmLab) -> None:
    slurm.kill_node("gpu3")
    until(lambda: slurm.states()["gpu3"].startswith("down"), "gpu3 is down")


def test_the_controller_comes_back_with_its_jobs(slurm: SlurmLab) -> None:
    job = slurm.submit_other()
    slurm.wait_saved()
    slurm.kill_controller()
    slurm.start_controller()
    assert job in slurm.run("squeue", "-h", "-o", "%A").split()
