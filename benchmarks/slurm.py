"""The Slurm engine beside plain sbatch, on a Slurm of this machine: ``python -m benchmarks.slurm``.

Three figures, each a ratio or difference within one run, so that a busy machine spoils them little:

- submit to start: from the call until the job's program runs, alternately by plain sbatch and through the engine;
- rate: jobs until the last has ended, by a loop of sbatch and through the engine in a courier's batches of 32;
- calls: what the engine asks per minute while many jobs run, asked every 3 s as the courier does.

Needs root and the packages of tests/labs/slurm.py.
"""

from __future__ import annotations

import argparse
import secrets
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.labs.slurm import SlurmLab

from stoker.engine import Key, Order
from stoker.engines.slurm import SlurmEngine, SlurmSettings
from stoker.job import JobSpec, JobState, Placement, Resources

_BATCH = 32
_ONE = ("--mem=1", "-n1", "-o", "/dev/null", "--parsable")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=30, help="pairs of single jobs")
    parser.add_argument("--jobs", type=int, default=1000, help="jobs of the rate")
    parser.add_argument("--running", type=int, default=200, help="jobs that run while calls are counted")
    chosen = parser.parse_args()
    lab = SlurmLab(nodes=32)
    lab.up()
    try:
        with tempfile.TemporaryDirectory(prefix="stoker-bench-") as folder:
            run(lab, Path(folder), chosen)
    finally:
        lab.down()


def run(lab: SlurmLab, folder: Path, chosen: argparse.Namespace) -> None:
    settings = SlurmSettings(conf=str(lab.conf), folder=str(folder / "shared"))
    engine = SlurmEngine("bench", settings, folder / "engine", secrets.token_hex(6))
    engine.inventory()
    plain, through = starts(lab, engine, folder, chosen.starts)
    print(f"submit to start, median of {chosen.starts}: sbatch {plain:.3f} s, engine {through:.3f} s,"
          f" overhead {through - plain:+.3f} s")  # fmt: skip
    by_hand, by_engine = rates(lab, engine, chosen.jobs)
    print(f"{chosen.jobs} jobs: sbatch {by_hand:.1f} jobs/s, engine {by_engine:.1f} jobs/s,"
          f" ratio {by_engine / by_hand:.2f}")  # fmt: skip
    for count in (1, chosen.running):
        print(f"calls per minute with {count} running jobs: {calls(engine, count)}")
    engine.close()


def starts(lab: SlurmLab, engine: SlurmEngine, folder: Path, count: int) -> tuple[float, float]:
    """Median seconds from the call until the program runs."""
    plain, through = [], []
    for number in range(1, count + 1):
        mark = folder / f"plain-{number}"
        begun = time.monotonic()
        lab.run("sbatch", *_ONE, "--wrap", f"touch {mark}")
        plain.append(_until(mark.exists) - begun)
        mark = folder / f"through-{number}"
        begun = time.monotonic()
        engine.submit([_order(number, f"touch {mark}")])
        through.append(_until(mark.exists) - begun)
        _finish(engine, 1)
    return statistics.median(plain), statistics.median(through)


def rates(lab: SlurmLab, engine: SlurmEngine, count: int) -> tuple[float, float]:
    """Jobs a second until the last has ended."""
    begun = time.monotonic()
    for _ in range(count):
        lab.run("sbatch", *_ONE, "--wrap", "true")
    _until(lambda: not lab.run("squeue", "-h", "-o", "%A"))
    by_hand = count / (time.monotonic() - begun)
    begun = time.monotonic()
    for first in range(10_000, 10_000 + count, _BATCH):
        numbers = range(first, min(first + _BATCH, 10_000 + count))
        engine.submit([_order(number, "true") for number in numbers])
    _finish(engine, count)
    return by_hand, count / (time.monotonic() - begun)


def calls(engine: SlurmEngine, count: int) -> int:
    """Commands that the engine runs in a minute of asking every 3 s (20 s are measured)."""
    base = 100_000 + count * 1000
    for first in range(0, count, _BATCH):
        engine.submit([_order(base + number, "sleep 600") for number in range(first, min(first + _BATCH, count))])
    _until(lambda: sum(seen.state is JobState.RUNNING for seen in engine.states().values()) == count)
    before, end = sum(engine.calls.values()), time.monotonic() + 21
    while time.monotonic() < end:
        engine.states()
        engine.inventory()
        time.sleep(3)
    asked = sum(engine.calls.values()) - before
    engine.cancel([Key(base + number, 1) for number in range(count)], grace=0.0)
    _finish(engine, count)
    return asked * 3


def _order(number: int, text: str) -> Order:
    need = Resources(cpus=1, memory=1 << 20)
    spec = JobSpec(command=("sh", "-c", text), resources=need)
    return Order(Key(number, 1), spec, (Placement(f"gpu{number % 32}"),))


def _finish(engine: SlurmEngine, count: int) -> None:
    """Until `count` orders have ended; they are forgotten."""
    ended: Sequence[Key] = ()

    def all_ended() -> bool:
        nonlocal ended
        ended = [key for key, seen in engine.states().items() if seen.state.final]
        return len(ended) >= count

    _until(all_ended, 0.2)
    engine.forget(ended)


def _until(true: Callable[[], object], pause: float = 0.005) -> float:
    while not true():
        time.sleep(pause)
    return time.monotonic()


if __name__ == "__main__":
    main()
