"""How quickly the scheduler says why a job waits, and how good its forecasts of starts are.

    python benchmarks/explain.py speed [--nodes 1000] [--waiting 10000] [--asked 20]
    python benchmarks/explain.py forecast [--trace muri/trace3.csv] [--share 0.8]

`speed` fills a made-up pool, and asks for explanations of waiting jobs out of everywhere in the line: seconds of
one core, with all changes tried, and beside them those of one scheduling pass over the same line.

`forecast` replays a recorded trace (STOKER_SHARED/traces, default ../shared beside the checkout) through `decide`.
The trace tells how long jobs ran and nothing of limits, so each is given one: the next of usual limits above 1 to 4
times its length (seed 1). Whenever a job has to wait, its start is forecast, once from limits alone and once with
what was learnt from the jobs that had ended by then, and compared with its real start. Printed: real over predicted
waiting (tenth, half, nine tenths), the middle of the absolute error beside the middle wait, and how many starts
lay in the interval that `stoker why` would have shown by the last 500 forecasts whose jobs had begun by then.
"""

from __future__ import annotations

import argparse
import heapq
import os
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from stoker.cluster import Device, Node
from stoker.job import Job, JobSpec, JobState, Resources
from stoker.schedule import Lasting, Plan, Pool, Ran, Snapshot, decide, explain
from stoker.schedule.lasting import devices_of
from stoker.simulate.pool import needed
from stoker.simulate.readers import read_trace
from stoker.simulate.trace import Trace
from stoker.store.predictions import COMPARED, ENOUGH

SHARED = Path(os.environ.get("STOKER_SHARED", Path(__file__).parents[2] / "shared"))
LIMITS = (600.0, 1800.0, 3600.0, 4 * 3600.0, 12 * 3600.0, 86400.0, 3 * 86400.0, 7 * 86400.0, 30 * 86400.0)
LEAST_WAIT_S = 60.0  # shorter waits are no forecast


def speed(nodes: int, waiting: int, asked: int) -> None:
    snapshot, plan, seconds = _filled(nodes, waiting)
    jobs = random.Random(3).sample(list(snapshot.pending), min(asked, len(snapshot.pending)))
    took = []
    for job in jobs:
        began = time.process_time()
        explain(snapshot, job, plan, nodes=True)
        took.append(time.process_time() - began)
    print(f"{nodes:,} nodes, {len(snapshot.active):,} jobs run, {len(snapshot.pending):,} wait")
    print(f"an explanation   {np.median(took):.3f} s median, {max(took):.3f} s at most, of {len(took)}")
    print(f"a scheduling pass over the same line, from nothing   {seconds:.3f} s")


def _filled(count: int, waiting: int) -> tuple[Snapshot, Plan, float]:
    """A pool that is full, and `waiting` jobs that did not get in."""
    draw = random.Random(1)
    nodes = [
        Node(f"n{n}", "hpc", 64, 512 << 30, tuple(Device(k, "H100" if n % 2 else "H20") for k in range(8)))
        for n in range(count)
    ]
    jobs = [Job(n, _made_up(draw), "t", "o", JobState.PENDING, 0.0) for n in range(1, waiting + 4 * count)]
    begun = [
        replace(start.job, state=JobState.RUNNING, started_at=990.0, placements=start.placements, engine="hpc")
        for start in decide(Snapshot(1000.0, nodes, jobs, [])).starts
    ]
    ids = {job.id for job in begun}
    left = [job for job in jobs if job.id not in ids][:waiting]
    snapshot = Snapshot(1000.0, nodes, left, begun)
    began = time.process_time()
    plan = decide(snapshot)
    return snapshot, plan, time.process_time() - began


def _made_up(draw: random.Random) -> JobSpec:
    devices = draw.choice([1, 1, 2, 4, 8])
    models = draw.choice([(), ("H100",), ("H20",)])
    return JobSpec(
        command=("x",),
        resources=Resources(accelerators=devices, cpus=4 * devices, models=models),
        nodes=draw.choice([1, 1, 1, 2, 4]),
        time_limit=draw.choice([600.0, 3600.0, 86400.0]),
        priority=draw.choice([20, 50, 70]),
        preemptible=draw.random() < 0.5,
    )


@dataclass
class Replay:
    """The trace through the scheduler, with a forecast for each job that has to wait."""

    trace: Trace
    nodes: Sequence[Node]
    pending: dict[int, Job] = field(default_factory=dict)
    active: dict[int, Job] = field(default_factory=dict)
    ran: list[Ran] = field(default_factory=list)
    told: dict[int, tuple[float, float | None, float | None]] = field(default_factory=dict)  # at, limits, learnt
    real: dict[int, float] = field(default_factory=dict)

    def run(self) -> None:
        draw, pool = random.Random(1), Pool()
        limits = [_limit(job.work, draw) for job in self.trace.jobs]
        coming = list(range(len(self.trace.jobs)))
        ends: list[tuple[float, int]] = []
        while coming or ends:
            now = min(self.trace.jobs[coming[0]].submitted_at if coming else np.inf, ends[0][0] if ends else np.inf)
            while ends and ends[0][0] <= now:
                self._end(heapq.heappop(ends)[1], now)
            while coming and self.trace.jobs[coming[0]].submitted_at <= now:
                self._come(coming.pop(0), limits, now)
            snapshot = Snapshot(now, self.nodes, list(self.pending.values()), list(self.active.values()))
            plan = decide(snapshot, pool)
            for start in plan.starts:
                number = start.job.id
                self.active[number] = replace(
                    self.pending.pop(number),
                    state=JobState.RUNNING, started_at=now, engine=start.engine, placements=start.placements,
                )  # fmt: skip
                self.real[number] = now
                heapq.heappush(ends, (now + self.trace.jobs[number - 1].work, number))
            self._forecast(now, plan)

    def _come(self, at: int, limits: Sequence[float], now: float) -> None:
        traced = self.trace.jobs[at]
        spec = replace(traced.spec, time_limit=limits[at], grace=0.0)
        self.pending[at + 1] = Job(at + 1, spec, traced.tenant, traced.owner, JobState.PENDING, now)

    def _end(self, number: int, now: float) -> None:
        job = self.active.pop(number)
        self.ran.append(
            Ran((job.tenant, job.owner), devices_of(job), job.spec.time_limit, now - (job.started_at or now))
        )

    def _forecast(self, now: float, plan: Plan) -> None:
        fresh = [job for job in self.pending.values() if job.id not in self.told]
        if not fresh:
            return
        snapshot = Snapshot(now, self.nodes, list(self.pending.values()), list(self.active.values()))
        left = Plan(waits=plan.waits, reserved=plan.reserved)
        learnt = Lasting(self.ran[-2000:])
        for job in fresh:
            bare = explain(snapshot, job, left, offer=False).forecast.at
            bent = explain(snapshot, job, left, offer=False, lasting=learnt).forecast.at
            self.told[job.id] = (now, bare, bent)


def _limit(work: float, draw: random.Random) -> float:
    wanted = work * draw.uniform(1.0, 4.0)
    return next((limit for limit in LIMITS if limit >= wanted), work * 4)


def forecast(path: Path, share: float, first: int) -> None:
    trace = read_trace(path).first(first)
    nodes = needed(trace, share=share)
    replay = Replay(trace, nodes)
    replay.run()
    print(f"{path.name}: {len(trace.jobs):,} jobs on {len(nodes)} nodes of 8; {len(replay.told):,} had to wait")
    for name, place in (("from limits", 1), ("learnt", 2)):
        told = [
            Told(one[0], float(at) - one[0], replay.real[number] - one[0])
            for number, one in replay.told.items()
            if (at := one[place]) is not None and float(at) - one[0] >= LEAST_WAIT_S
        ]
        _print(name, told)


class Told(NamedTuple):
    """A forecast, and what came of it; seconds."""

    at: float
    predicted: float  # waiting from then on
    real: float

    @property
    def share(self) -> float:
        return self.real / self.predicted


def _print(name: str, told: Sequence[Told]) -> None:
    real, predicted = np.array([one.real for one in told]), np.array([one.predicted for one in told])
    tenth, middle, ninth = np.quantile(real / predicted, [0.1, 0.5, 0.9])
    inside = _inside(told)
    print(
        f"{name:12} {len(told):5} compared   real/predicted {tenth:.2f} {middle:.2f} {ninth:.2f}"
        f"   middle error {np.median(np.abs(real - predicted)):,.0f} s of {np.median(real):,.0f} s waited"
        f"   {np.mean(inside):.1%} of {len(inside)} within the interval shown"
    )


def _inside(told: Sequence[Told]) -> list[bool]:
    """Of each forecast that had an interval, whether the start lay in it."""
    begun = sorted(told, key=lambda one: one.at + one.real)
    found = []
    for one in told:
        known = [other.share for other in begun if other.at + other.real <= one.at][-COMPARED:]
        if len(known) >= ENOUGH:
            low, high = np.quantile(known, [0.1, 0.9])
            found.append(bool(low <= one.share <= high))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    kinds = parser.add_subparsers(dest="kind", required=True)
    one = kinds.add_parser("speed")
    for name, default in (("nodes", 1000), ("waiting", 10000), ("asked", 20)):
        one.add_argument(f"--{name}", type=int, default=default)
    other = kinds.add_parser("forecast")
    other.add_argument("--trace", default="muri/trace3.csv")
    other.add_argument("--share", type=float, default=0.8)
    other.add_argument("--first", type=int, default=0, help="so many jobs of the trace; 0: all")
    given = parser.parse_args()
    if given.kind == "speed":
        speed(given.nodes, given.waiting, given.asked)
    else:
        forecast(SHARED / "traces" / given.trace, given.share, given.first)


if __name__ == "__main__":
    main()
