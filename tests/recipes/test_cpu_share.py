"""What a process got of the CPU it wanted, as the kernel counts it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stoker.recipes.cpu_share import CpuShare


def _thread(tasks: Path, name: str, ran: int, stood: int) -> None:
    folder = tasks / name
    folder.mkdir(exist_ok=True)
    (folder / "schedstat").write_text(f"{ran} {stood} 7\n")


def test_threads_are_added_up_since_the_lap_before(tmp_path: Path) -> None:
    _thread(tmp_path, "1", 1000, 500)
    clock = CpuShare(tmp_path)
    _thread(tmp_path, "1", 1300, 500)
    _thread(tmp_path, "2", 300, 400)  # a new one
    assert clock.lap() == 0.6
    assert clock.lap() is None  # nothing ran
    _thread(tmp_path, "2", 400, 400)
    assert clock.lap() == 1.0


def test_a_kernel_that_does_not_tell_is_unknown_and_not_all(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    assert CpuShare(tmp_path).lap() is None
    assert CpuShare(tmp_path / "nowhere").lap() is None


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="this kernel keeps no schedstat")
def test_a_neighbour_on_the_same_cpu_takes_its_part() -> None:
    """In a process of its own on one CPU, beside another that never rests."""
    cpu = min(os.sched_getaffinity(0))
    script = (
        "import os; from stoker.recipes.cpu_share import CpuShare\n"
        f"os.sched_setaffinity(0, {{{cpu}}})\n"
        "clock, got = CpuShare(), 1.0\n"
        "while not got or got > 0.9:\n"
        "    sum(range(3_000_000))\n"
        "    got = clock.lap()\n"
        "print(got)"
    )
    pinned = f"import os; os.sched_setaffinity(0, {{{cpu}}})\nwhile True: pass"
    neighbour = subprocess.Popen([sys.executable, "-c", pinned])
    try:
        told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    finally:
        neighbour.kill()
        neighbour.wait()
    assert 0 < float(told.stdout) <= 0.9
