"""What a newcomer waits for: installing the platform, and the command line's help.

    python benchmarks/startup.py [--install]

Prints a Markdown table. `--install` makes a fresh virtual environment below build/ and needs a package index.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RUNS = 11


def seconds(*command: str) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def help_time() -> float:
    """Median seconds of `stoker --help`; the first run, which fills the file cache, does not count."""
    command = [sys.executable, "-m", "stoker", "--help"]
    return statistics.median([seconds(*command) for _ in range(RUNS + 1)][1:])


def install() -> tuple[float, float]:
    """Seconds and MB of `pip install stoker` (no extras) into a fresh environment."""
    folder = ROOT / "build" / "startup-venv"
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    before = size(folder)
    constraints = str(ROOT / "constraints.txt")
    took = seconds(str(folder / "bin/python"), "-m", "pip", "install", "-q", "-c", constraints, str(ROOT))
    return took, (size(folder) - before) / 1e6


def size(folder: Path) -> int:
    return sum(file.lstat().st_size for file in folder.rglob("*") if file.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--install", action="store_true")
    chosen = parser.parse_args()
    print("| what | measured | wanted |\n|---|---:|---:|")
    print(f"| `stoker --help`, median of {RUNS} | {help_time():.2f} s | <= 0.3 s |")
    if chosen.install:
        took, megabytes = install()
        print(f"| `pip install stoker`, no extras | {took:.0f} s | <= 60 s |")
        print(f"| what it adds to the environment | {megabytes:.0f} MB | <= 250 MB |")


if __name__ == "__main__":
    main()
