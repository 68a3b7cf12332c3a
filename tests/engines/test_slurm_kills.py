"""The platform killed at any call to Slurm's machine: no job runs twice, none is lost, nothing is left behind."""

from __future__ import annotations

import random
import secrets
from pathlib import Path

import pytest

from stoker.engine import Key, Observation
from stoker.engines.slurm import SlurmEngine
from stoker.errors import Away
from stoker.job import JobSpec, JobState
from tests.engines.contract import shell
from tests.engines.slurm_cluster import Killed, Mortal, comes, marks, on_this_machine, placed
from tests.labs.daemons import until
from tests.labs.slurm import SlurmLab

pytestmark = pytest.mark.slurm
MOMENTS = ("before", "half", "after", "late")


class Platform:
    """Hands over what has not ended, as a dispatcher does, and goes on after it was killed."""

    def __init__(self, slurm: SlurmLab, folder: Path, jobs: int) -> None:
        self.settings = on_this_machine(slurm, folder)
        self.folder, self.installation = folder, secrets.token_hex(6)
        self.specs = {number: self._spec(number) for number in range(1, jobs + 1)}
        self.ended: dict[int, Observation] = {}
        self.cancelled = {2}  # job 2 is cancelled as soon as it was handed over
        self.late: list[Mortal] = []

    def _spec(self, number: int) -> JobSpec:
        return shell(f"echo x >> {self.folder}/ran-{number}; sleep {600 if number == 2 else 0.5}")

    def live(self, machine: Mortal | None) -> None:
        """Until all have ended, or the machine kills it."""
        engine = SlurmEngine("hpc", self.settings, self.folder / "engine", self.installation, machine)
        if machine is not None:
            self.late.append(machine)
        try:
            while len(self.ended) < len(self.specs):
                self._round(engine)
        finally:
            engine.close()

    def _round(self, engine: SlurmEngine) -> None:
        open_jobs = [number for number in self.specs if number not in self.ended]
        assert engine.submit([placed(self.specs[number], number) for number in open_jobs]) == {}
        engine.cancel([Key(number, 1) for number in self.cancelled if number in open_jobs], grace=0.5)
        states = engine.states()
        over = {key: seen for key, seen in states.items() if seen.state.final}
        self.ended |= {key.job: seen for key, seen in over.items()}
        engine.forget(list(over))

    def ran(self, number: int) -> int:
        """How often the job ran."""
        file = self.folder / f"ran-{number}"
        return len(file.read_text().split()) if file.exists() else 0


def test_killed_at_every_early_call(slurm: SlurmLab, tmp_path: Path) -> None:
    """Each of the calls of a first round, one after the other, in every way."""
    platform = Platform(slurm, tmp_path, jobs=4)
    for call in range(1, 13):
        with pytest.raises(Killed):
            platform.live(Mortal(call, MOMENTS[call % len(MOMENTS)]))
    finish(platform, slurm)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_killed_at_random_calls(slurm: SlurmLab, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311
    platform = Platform(slurm, tmp_path, jobs=8)
    for _ in range(25):
        try:
            platform.live(Mortal(chance.randint(1, 14), chance.choice(MOMENTS)))
        except Killed:
            continue
        break
    finish(platform, slurm)


def finish(platform: Platform, slurm: SlurmLab) -> None:
    """Let it live; then every job has run once, but for the cancelled one, and nothing of it is left in Slurm."""
    platform.live(None)
    for number, seen in platform.ended.items():
        wanted = JobState.CANCELLED if number in platform.cancelled else JobState.SUCCEEDED
        assert (number, seen.state) == (number, wanted), seen
        assert platform.ran(number) <= 1 if number in platform.cancelled else platform.ran(number) == 1, number
    for machine in platform.late:
        for thread in machine.late:
            thread.join()
    engine = SlurmEngine("hpc", platform.settings, platform.folder / "engine", platform.installation)

    def nothing_left() -> bool:
        assert engine.states() == {}
        return not marks(slurm, engine)

    until(nothing_left, "no Slurm job of ours is left")
    assert all(platform.ran(number) <= 1 for number in platform.specs)
    engine.close()


def test_two_jobs_of_one_attempt_run_it_once(slurm: SlurmLab, tmp_path: Path) -> None:
    """What a platform leaves whose sbatch went on after it was killed: both jobs are there, and both start."""
    engine = SlurmEngine("hpc", on_this_machine(slurm, tmp_path), tmp_path / "engine", secrets.token_hex(6))
    one = placed(shell(f"echo x >> {tmp_path}/ran; sleep 2"))
    engine.submit([one])
    entry = engine._ledger.get(one.key)
    assert entry is not None
    assert engine._commands.submit([entry.options] * 2, engine._cluster.connect().wrapper)
    assert comes(engine, one.key, lambda seen: seen.state.final).state is JobState.SUCCEEDED
    until(lambda: not marks(slurm, engine), "the second has ended")
    assert (tmp_path / "ran").read_text() == "x\n"
    engine.close()


def test_a_job_that_slurm_forgot_before_it_began_is_submitted_again(slurm: SlurmLab, tmp_path: Path) -> None:
    """A controller that is killed loses what it acknowledged in its last seconds."""
    engine = SlurmEngine("hpc", on_this_machine(slurm, tmp_path), tmp_path / "engine", secrets.token_hex(6))
    slurm.submit_other("-w", "gpu0", "--exclusive", "-A", "product")
    slurm.wait_saved()
    one = placed(shell(f"echo x >> {tmp_path}/ran"))
    engine.submit([one])
    slurm.kill_controller()
    with pytest.raises(Away):
        engine.states()
    slurm.start_controller()
    slurm.run("scancel", "--user=nobody")
    assert comes(engine, one.key, lambda seen: seen.state.final, patience=90).state is JobState.SUCCEEDED
    assert (tmp_path / "ran").read_text() == "x\n"
    engine.close()
