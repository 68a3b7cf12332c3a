"""How much of the openb cluster could be given away at most by moving tasks, however many.

    python benchmarks/placement_bound.py [--traces default,...] [--seeds 10] [--reach 97.5]

The packer here may put everything that runs elsewhere whenever a task comes, as often as it likes, and no node, CPU
or device model is in its way. Like any scheduler that turns nobody away for whom it has room, it takes each task
that fits. Whether one fits is told by the linear relaxation of cutting stock (Gilmore and Gomory 1961), which needs
no more devices than any packing. So what it gives away is what moves can lead to.

More could be given away only by turning tasks away that fit, because others would leave less idle. The second
figure says what `--reach` per cent would take: how many of the tasks that leave most idle could be accepted, and
how much of the capacity had been asked for when the last of these came.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from placement import ASKED, Floats, Task, arrivals, folder_of_traces, read_machines, read_tasks

WHOLE = 1000  # thousandths
NEAR = 5.0  # devices: when so few are left it is reckoned exactly
EXACT = 1e-9


class Cutting:
    """The fewest devices, in fractions, that shares of them need: sum of y_z n_z over sizes z at the dual optimum.

    Each y that was optimal once bounds every later need from below, and is kept.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        self.sizes = sizes
        self._unit = math.gcd(WHOLE, *sizes)
        self._known = [np.array(sizes) / WHOLE]

    def at_least(self, counts: Floats) -> float:
        return max(float(dual @ counts) for dual in self._known)

    def solve(self, counts: Floats) -> float:
        """By the revised simplex method; the basis begins with devices that hold one size each."""
        basis = np.diag([float(WHOLE // size) for size in self.sizes])
        while True:
            inverse = np.linalg.inv(basis)
            dual = inverse.sum(axis=0)
            pattern, value = self._best(dual)
            if value <= 1 + EXACT:
                self._known.append(dual / max(1.0, value))
                return self.at_least(counts)
            used, change = inverse @ counts, inverse @ pattern
            ratios = np.where(change > EXACT, used / np.where(change > EXACT, change, 1.0), np.inf)
            basis[:, int(ratios.argmin())] = pattern

    def _best(self, dual: Floats) -> tuple[Floats, float]:
        """What fits on one device and is worth most."""
        room = WHOLE // self._unit
        worth, chosen = [0.0] * (room + 1), [-1] * (room + 1)
        for free in range(1, room + 1):
            worth[free] = worth[free - 1]
            for at, size in enumerate(self.sizes):
                rest = free - size // self._unit
                if rest >= 0 and worth[rest] + dual[at] > worth[free] + EXACT:
                    worth[free], chosen[free] = worth[rest] + dual[at], at
        pattern, free = np.zeros(len(self.sizes)), room
        while free > 0:
            at = chosen[free]
            free -= 1 if at < 0 else self.sizes[at] // self._unit
            if at >= 0:
                pattern[at] += 1
        return pattern, worth[room]


def ideal(stream: Sequence[Task], devices: int) -> float:
    """Allocated share in per cent at the demand that is asked for, in the mean as `placement.run` takes it."""
    sizes = sorted({task.milli for task in stream if task.gpus and task.milli < WHOLE})
    cutting, counts, whole = Cutting(sizes), np.zeros(len(sizes)), 0
    cutting.solve(sum((_shares(task, sizes) for task in stream), counts))  # much the same mix: a good first bound
    full: set[tuple[int, int]] = set()  # what has not fitted does not fit later: nothing ends
    asked = given = 0
    shares = []
    for task in stream:
        asked += task.demand
        shape = (task.gpus, task.milli)
        if task.gpus and shape not in full:
            more, wholes = _shares(task, sizes), task.gpus if task.milli == WHOLE else 0
            if _fits(cutting, counts + more, devices - whole - wholes):
                counts, whole = counts + more, whole + wholes
                given += task.demand
            else:
                full.add(shape)
        if round(100 * asked / (WHOLE * devices)) >= round(100 * ASKED):
            shares.append(100 * given / (WHOLE * devices))
    return float(np.mean(shares))


def _shares(task: Task, sizes: Sequence[int]) -> Floats:
    return np.array([float(task.gpus * (size == task.milli)) for size in sizes])


def _fits(cutting: Cutting, counts: Floats, devices: int) -> bool:
    needed = cutting.at_least(counts)
    if devices - NEAR < needed <= devices:
        needed = cutting.solve(counts)
    return needed <= devices + EXACT


def reach(stream: Sequence[Task], devices: int, wanted: float) -> tuple[int, int, int, float]:
    """Of the size that leaves most idle: its thousandths, how many came, how many could be accepted, and how much
    of the capacity had been asked for, in per cent, when the last of these came."""
    came = Counter(task.milli for task in stream if task.gpus == 1 and 2 * task.milli > WHOLE)
    size = max(came, key=lambda milli: came[milli] * (WHOLE - milli))
    fill = sum(task.demand for task in stream if task.gpus and task.milli <= WHOLE - size)
    most = int(((1 - wanted / 100) * WHOLE * devices + fill) / (WHOLE - size))
    asked = taken = 0
    for task in stream:
        if taken == most:
            break
        asked += task.demand
        taken += task.milli == size
    return size, came[size], most, 100 * asked / (WHOLE * devices)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, default=folder_of_traces())
    parser.add_argument("--traces", default="default")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--reach", type=float, default=97.5)
    options = parser.parse_args()
    devices = sum(one.gpus for one in read_machines(options.folder))
    print(f"| trace | moves without end % | sd | for {options.reach:g} %: size | came | at most | at demand % |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for trace in options.traces.split(","):
        tasks = read_tasks(options.folder, trace)
        streams = [arrivals(tasks, WHOLE * devices, np.random.default_rng(seed)) for seed in range(options.seeds)]
        shares = [ideal(stream, devices) for stream in streams]
        size, came, most, demand = np.mean([reach(one, devices, options.reach) for one in streams], axis=0)
        row = f"{np.mean(shares):.2f} | {np.std(shares):.2f} | {size:.0f} | {came:.0f} | {most:.0f} | {demand:.1f}"
        print(f"| {trace} | {row} |", flush=True)


if __name__ == "__main__":
    main()
