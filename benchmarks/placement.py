"""Placement on a recorded cluster: how much of 6,212 GPUs is given away when 130 % is asked for.

    python benchmarks/placement.py [--traces default,cpu100,...] [--seeds 10] [--policies stoker,moving,FGD,...]

The experiment is the one of FGD (Weng et al., USENIX ATC 2023) on Alibaba's openb traces, as openb/experiment.md of
the data folder defines it: all tasks in random order, then drawn again until the demand is 1.3 times the capacity;
each is tried once and stays. `stoker` is what the platform itself schedules with (`stoker.schedule`), given the mix
of the original list; `moving` also moves at most 1 % of the tasks to let others in; the others are scored here.
Printed: allocated share in per cent, mean and standard deviation over seeds, beside the published mean, decisions
per second of the processor, and how many tasks were moved in the mean.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stoker.cluster import Device, Node
from stoker.job import Job, JobSpec, JobState, Placement, Resources
from stoker.schedule.defragment import relieve
from stoker.schedule.field import Field
from stoker.schedule.layout import layout_of
from stoker.schedule.mix import Likely, Mix
from stoker.schedule.worth import worth_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
TRACES = ("default", "cpu100", "gpushare60", "gpuspec20", "multigpu30")
PUBLISHED = {
    "Random": "01-Random", "DotProd": "02-DotProd", "Clustering": "03-GpuClustering", "Packing": "04-GpuPacking",
    "BestFit": "05-BestFit", "FGD": "06-FGD",
}  # fmt: skip
ASKED = 1.3  # demand over capacity
COVERED = 0.95  # of the tasks are of typical kinds
MOVED = 0.01  # of the tasks that came may have been moved
MOST_MOVES = 3  # for one task
WORTH_A_MOVE = 100  # thousandths of devices that each move has to let in


@dataclass(frozen=True)
class Task:
    cpu: int  # thousandths of a CPU
    memory: int  # MiB
    milli: int  # of each GPU
    gpus: int
    models: tuple[str, ...]

    @property
    def demand(self) -> int:
        return self.milli * self.gpus

    @property
    def kind(self) -> int:
        """0: a share of a device; else its devices."""
        return self.gpus if self.milli == 1000 else 0


@dataclass(frozen=True)
class Machine:
    name: str
    cpu: int
    memory: int
    gpus: int
    model: str


def read_machines(folder: Path) -> list[Machine]:
    with (folder / "openb_node_list_gpu_node.csv").open() as file:
        return [
            Machine(row["sn"], int(row["cpu_milli"]), int(row["memory_mib"]), int(row["gpu"]), row["model"])
            for row in csv.DictReader(file)
        ]


def read_tasks(folder: Path, trace: str) -> list[Task]:
    with (folder / f"openb_pod_list_{trace}.csv").open() as file:
        return [_task(row) for row in csv.DictReader(file)]


def _task(row: dict[str, str]) -> Task:
    gpus = int(row["num_gpu"])
    models = tuple(filter(None, row.get("gpu_spec", "").split("|"))) if gpus else ()
    return Task(int(row["cpu_milli"]), int(row["memory_mib"]), int(row["gpu_milli"]) if gpus else 0, gpus, models)


def arrivals(tasks: list[Task], capacity: int, rng: np.random.Generator) -> list[Task]:
    """All tasks in random order, then more drawn with replacement, until the demand is over what is asked."""
    taken: list[Task] = []
    total = 0
    for task in _endless(tasks, rng):
        taken.append(task)
        total += task.demand
        if total > ASKED * capacity:
            break
    return taken


def _endless(tasks: list[Task], rng: np.random.Generator) -> Iterator[Task]:
    yield from (tasks[at] for at in rng.permutation(len(tasks)))
    while True:
        yield tasks[rng.integers(len(tasks))]


def typical(tasks: list[Task]) -> list[tuple[Task, float]]:
    """The most frequent kinds, memory aside, that cover 95 % of the list, with their share."""
    kinds = Counter(Task(task.cpu, 0, task.milli, task.gpus, task.models) for task in tasks)
    kept: list[tuple[Task, float]] = []
    covered = 0
    for kind, count in kinds.most_common():
        kept.append((kind, float(count)))
        covered += count
        if covered >= COVERED * len(tasks):
            break
    total = sum(count for _, count in kept)
    return [(kind, count / total) for kind, count in kept]


class Stoker:
    """The platform's own placement. One CPU of a node is a thousandth here, as the trace counts."""

    def __init__(self, machines: list[Machine], tasks: list[Task]) -> None:
        nodes = [
            Node(one.name, "e", one.cpu, one.memory << 20, tuple(Device(at, one.model) for at in range(one.gpus)))
            for one in machines
        ]
        layout = layout_of(nodes)
        self._field = Field(layout, worth_of(self._mix(tasks), layout.models))
        self._specs = {task: self._spec(task) for task in set(tasks)}

    def _mix(self, tasks: list[Task]) -> Mix:
        return tuple(
            Likely(kind.cpu, kind.milli, kind.gpus, tuple(model.lower() for model in kind.models), share)
            for kind, share in typical(tasks)
        )

    def _spec(self, task: Task) -> JobSpec:
        need = Resources(task.gpus, task.models, task.milli or 1000, task.cpu, task.memory << 20)
        return JobSpec(command=("x",), resources=need)

    def place(self, task: Task) -> bool:
        spec = self._specs[task]
        engine, placements = self._field.fit(spec)
        if placements:
            self._field.take(spec, engine, placements)
        return bool(placements)


class Moving(Stoker):
    """The same, which makes room for what does not fit by moving what runs: see `stoker.schedule.defragment`."""

    def __init__(self, machines: list[Machine], tasks: list[Task]) -> None:
        super().__init__(machines, tasks)
        self._on: dict[int, list[Job]] = {}
        self._placed = 0
        self._refused: dict[Task, int] = {}  # how many had been placed when nothing helped
        self.arrived = self.moved = 0

    def place(self, task: Task) -> bool:
        self.arrived += 1
        spec = self._specs[task]
        engine, placements = self._field.fit(spec)
        if not placements:
            engine, placements = self._make_room(task, spec)
        if placements:
            self._field.take(spec, engine, placements)
            self._placed += 1
            self._note(Job(self.arrived, spec, "t", "o", JobState.RUNNING, 0.0), engine, placements)
        return bool(placements)

    def _make_room(self, task: Task, spec: JobSpec) -> tuple[str, tuple[Placement, ...]]:
        most = min(MOST_MOVES, task.demand // WORTH_A_MOVE, int(MOVED * self.arrived) - self.moved)
        if most <= 0 or self._refused.get(task) == self._placed:
            return "", ()
        relief = relieve(self._field, spec, self._on, most)
        if relief is None:
            self._refused[task] = self._placed
            return "", ()
        for move in relief.moves:
            (row,) = self._field.rows(move.job.engine, move.job.placements)
            self._on[row].remove(move.job)
            self._field.give(move.job.spec, move.job.engine, move.job.placements)
            self._field.take(move.job.spec, move.engine, move.placements)
            self._note(move.job, move.engine, move.placements)
        self.moved += len(relief.moves)
        return relief.engine, relief.placements

    def _note(self, job: Job, engine: str, placements: tuple[Placement, ...]) -> None:
        (row,) = self._field.rows(engine, placements)
        self._on.setdefault(row, []).append(replace(job, engine=engine, placements=placements))


class Scored:
    """A baseline: the feasible node with the highest integer score, the first one on ties."""

    def __init__(
        self, machines: list[Machine], tasks: list[Task], policy: Policy, rng: np.random.Generator
    ) -> None:
        self.rng = rng
        self.policy = policy
        self.cpu = np.array([one.cpu for one in machines], dtype=np.float64)
        self.memory = np.array([one.memory for one in machines], dtype=np.float64)
        names = sorted({one.model for one in machines})
        self.model = np.array([names.index(one.model) for one in machines])
        self.free = np.array([[1000.0 if at < one.gpus else 0.0 for at in range(8)] for one in machines])
        self.accepts = {
            task: np.array([not task.models or name in task.models for name in names])
            for task in {*tasks, *(kind for kind, _ in typical(tasks))}
        }
        kinds = typical(tasks)
        self.share = np.array([share for _, share in kinds])
        self.kind_cpu = np.array([kind.cpu for kind, _ in kinds], dtype=np.float64)
        self.kind_milli = np.array([kind.milli for kind, _ in kinds], dtype=np.float64)
        self.kind_gpus = np.array([kind.gpus for kind, _ in kinds])
        self.kind_accepts = np.array([self.accepts[kind] for kind, _ in kinds])
        self.count = np.array([one.gpus for one in machines])
        self.classes = np.zeros((len(machines), 9), dtype=np.bool_)  # which are on the node, see Task.kind
        self._log: list[int] = []
        self._known: dict[Task, tuple[Floats, Ints, int]] = {}

    def place(self, task: Task) -> bool:
        score, device = self._scores(task)
        best = int(score.argmax())
        if score[best] == -np.inf:
            return False
        if self.policy is random_score:
            best = int(self.rng.choice(np.flatnonzero(score > -np.inf)))
        self.cpu[best] -= task.cpu
        self.memory[best] -= task.memory
        if task.gpus == 1:
            self.free[best, self._device(best, task, int(device[best]))] -= task.milli
        elif task.gpus:
            self.free[best, np.flatnonzero(self.free[best] >= 1000)[: task.gpus]] = 0
        if task.gpus:
            self.classes[best, task.kind] = True
        self._log.append(best)
        return True

    def _device(self, row: int, task: Task, chosen: int) -> int:
        if self.policy is random_score:
            return int(self.rng.choice(np.flatnonzero(self.free[row] >= task.milli)))
        return chosen

    def _scores(self, task: Task) -> tuple[Floats, Ints]:
        count = len(self.cpu)
        score, device, seen = self._known.get(task, (np.full(count, -np.inf), np.zeros(count, dtype=np.int64), -1))
        rows = np.arange(count) if seen < 0 else np.array(sorted({*self._log[seen:]}), dtype=np.int64)
        if len(rows):
            feasible = self._feasible(task, rows)
            score[rows] = -np.inf
            rows = rows[feasible]
            if len(rows):
                score[rows], device[rows] = self.policy(self, task, rows)
        self._known[task] = (score, device, len(self._log))
        return score, device

    def _feasible(self, task: Task, rows: Ints) -> NDArray[np.bool_]:
        room = (self.cpu[rows] >= task.cpu) & (self.memory[rows] >= task.memory)
        if task.gpus:
            room &= self.accepts[task][self.model[rows]]
            fitting = self.free[rows] >= (task.milli if task.gpus == 1 else 1000)
            room &= fitting.sum(axis=1) >= task.gpus
        return np.asarray(room)

    def tightest(self, task: Task, rows: Ints) -> Ints:
        free = self.free[rows]
        return np.asarray(np.where(free >= task.milli, free, np.inf).argmin(axis=1))

    def fragment(self, cpu: Floats, model: Ints, free: Floats) -> Floats:
        """F of FGD: idle thousandths that a typical task cannot use, in the mean over typical tasks."""
        idle = free.sum(axis=1)
        able = (cpu[:, None] >= self.kind_cpu) & self.kind_accepts.T[model] & (self.kind_gpus > 0)
        whole = (free >= 1000).sum(axis=1)
        enough = np.where(
            self.kind_gpus > 1, whole[:, None] >= self.kind_gpus, free.max(axis=1)[:, None] >= self.kind_milli
        )
        small = np.where(self.kind_milli[:, None] > free[:, None, :], free[:, None, :], 0).sum(axis=2)
        return np.asarray((np.where(able & enough, small, idle[:, None]) * self.share).sum(axis=1))


Policy = Callable[[Scored, Task, Ints], tuple[Floats, Ints]]


def random_score(world: Scored, task: Task, rows: Ints) -> tuple[Floats, Ints]:
    del world, task
    return np.zeros(len(rows)), np.zeros(len(rows), dtype=np.int64)


def best_fit(world: Scored, task: Task, rows: Ints) -> tuple[Floats, Ints]:
    left = (world.cpu[rows] - task.cpu) / 128_000 + (world.free[rows].sum(axis=1) - task.demand) / 8_000
    return np.trunc(100 * (1 - 0.5 * left)), world.tightest(task, rows)


def dot_product(world: Scored, task: Task, rows: Ints) -> tuple[Floats, Ints]:
    cpu = world.cpu[rows] / 128_000 * task.cpu / 128_000
    gpu = world.free[rows].sum(axis=1) / 8_000 * task.demand / 8_000
    return np.trunc(100 * (1 - (cpu + gpu) / 2)), world.tightest(task, rows)


def packing(world: Scored, task: Task, rows: Ints) -> tuple[Floats, Ints]:
    """Used devices before unused ones of used nodes before unused nodes; the fullest first."""
    device = world.tightest(task, rows)
    if not task.gpus:
        return np.zeros(len(rows)), device
    free = world.free[rows]
    unused = (free == 1000).sum(axis=1)
    left = free[np.arange(len(rows)), device]
    on_used = np.maximum(100 - np.trunc(left / 10 / 10), 50)
    whole = np.maximum(50 - task.gpus, 33) * np.ones(len(rows))
    score = np.where((task.gpus > 1) | (left == 1000), whole, on_used)
    fresh = unused == world.count[rows]
    return np.trunc(np.where(fresh, np.maximum(33 - unused, unused), score)), device


def clustering(world: Scored, task: Task, rows: Ints) -> tuple[Floats, Ints]:
    """Nodes that hold the same class of tasks (shares, or so many devices), and only it, before others."""
    device = world.tightest(task, rows)
    if not task.gpus:
        return np.zeros(len(rows)), device
    classes = world.classes[rows]
    same, kinds = classes[:, task.kind], classes.sum(axis=1)
    affinity = np.select([same & (kinds == 1), same, kinds == 0], [75, 50, 25], 0)
    return affinity + 25 * (8000 - world.free[rows].sum(axis=1)) // 8000, device


def fgd(world: Scored, task: Task, rows: Ints) -> tuple[Floats, Ints]:
    before = world.fragment(world.cpu[rows], world.model[rows], world.free[rows])
    cpu = world.cpu[rows] - task.cpu
    if task.gpus == 1:
        at, column = np.nonzero(world.free[rows] >= task.milli)
        tries = world.free[rows][at]
        tries[np.arange(len(at)), column] -= task.milli
        gain = np.full((len(rows), 8), -np.inf)
        gain[at, column] = before[at] - world.fragment(cpu[at], world.model[rows][at], tries)
        score = np.trunc(100 / (1 + np.exp(-gain / 1000)))
        device = score.argmax(axis=1)
        return score[np.arange(len(rows)), device], device
    after = world.free[rows]
    for row in after:
        row[np.flatnonzero(row >= 1000)[: task.gpus]] = 0
    gain = before - world.fragment(cpu, world.model[rows], after)
    return np.trunc(100 / (1 + np.exp(-gain / 1000))), np.zeros(len(rows), dtype=np.int64)


POLICIES: dict[str, Policy] = {
    "Random": random_score, "DotProd": dot_product, "Clustering": clustering, "Packing": packing,
    "BestFit": best_fit, "FGD": fgd,
}  # fmt: skip


OURS: dict[str, type[Stoker]] = {"stoker": Stoker, "moving": Moving}


def run(machines: list[Machine], tasks: list[Task], policy: str, seed: int) -> tuple[float, float, int]:
    """Allocated share in per cent at 130 % demand, decisions per second, and how many tasks were moved."""
    rng = np.random.default_rng(seed)
    capacity = 1000 * sum(one.gpus for one in machines)
    stream = arrivals(tasks, capacity, rng)
    order = [machines[at] for at in rng.permutation(len(machines))]
    ours = OURS.get(policy)
    world = ours(order, tasks) if ours else Scored(order, tasks, POLICIES[policy], rng)
    asked = given = 0
    shares = []
    began = time.process_time()
    for task in stream:
        asked += task.demand
        if world.place(task):
            given += task.demand
        if round(100 * asked / capacity) >= round(100 * ASKED):
            shares.append(100 * given / capacity)
    speed = len(stream) / (time.process_time() - began)
    return float(np.mean(shares)), speed, world.moved if isinstance(world, Moving) else 0


def published(folder: Path, trace: str, policy: str) -> str:
    with (folder / "published_allocation.csv").open() as file:
        for row in csv.DictReader(file):
            if (row["trace"], row["policy"]) == (trace, PUBLISHED.get(policy, "")):
                return row["alloc_pct_at_130"]
    return "-"


def folder_of_traces() -> Path:
    shared = Path(os.environ.get("STOKER_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    return shared / "traces" / "openb"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, default=folder_of_traces())
    parser.add_argument("--traces", default=",".join(TRACES))
    parser.add_argument("--policies", default="stoker,moving,FGD,BestFit,Packing,Clustering,DotProd,Random")
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args()
    if not options.folder.is_dir():
        sys.exit(f"{options.folder} is not there: give the folder of the openb traces with --folder")
    machines = read_machines(options.folder)
    print("| trace | policy | allocated % | sd | published % | decisions/s | moved |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for trace in options.traces.split(","):
        tasks = read_tasks(options.folder, trace)
        for policy in options.policies.split(","):
            shares, speeds, moved = zip(
                *(run(machines, tasks, policy, seed) for seed in range(options.seeds)), strict=True
            )
            told = published(options.folder, trace, policy)
            share, pace = f"{np.mean(shares):.2f} | {np.std(shares):.2f}", f"{np.median(speeds):,.0f}"
            print(f"| {trace} | {policy} | {share} | {told} | {pace} | {np.mean(moved):.0f} |", flush=True)


if __name__ == "__main__":
    main()
