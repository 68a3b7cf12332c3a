"""Fairness: a week of bursty tenants, the share each gets of what it deserves, and how long a large gang waits.

    python benchmarks/fairness.py [--days 7] [--seed 0] [--most 8] [--plot docs/images/fairness.svg]
    python benchmarks/fairness.py --causes [--moment]

64 GPUs, four tenants that deserve 24, 16, 16 and 8 of them. Each comes in bursts: for hours more work than it
deserves, then none. What one leaves the others borrow, and give back when it returns. Over every stretch of
24 h a tenant should hold what it deserves for as long as it asks for so much: its shortfall is

    1 - integral of devices held / integral of min(deserved, asked)

and the worst over all tenants and stretches is printed; with `--causes` also what it is made of. `--moment`: with
rights at any moment only, nothing made up for. Beside them a gang of a quarter of the cluster (2 nodes of
8) comes every few hours in the largest queue; its longest wait is held against the bound of docs/queues.md,
P + (k + 2) x L, with the patience P of the queue, the longest limit and grace L of jobs, and k older jobs of its
queue that still wait when its patience is over.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from fairness_causes import BEYOND, GRACE, KEPT, LARGER, NODES, OWED, TAKEN, Causes

from stoker.queue import Queue
from stoker.schedule import credit
from stoker.schedule.policy import Policy
from stoker.simulate import Outcome, Settings, Trace, TracedJob, simulate
from stoker.simulate.measures import measure
from stoker.simulate.picture import Axis, Line, document
from stoker.simulate.pool import nodes_of
from stoker.simulate.readers import spec_of
from stoker.simulate.run import ORIGIN

HOUR, DAY = 3600.0, 86400.0
DESERVED = {"vision": 24.0, "speech": 16.0, "text": 16.0, "robots": 8.0}
PATIENCE_S, LONGEST_S = 6 * HOUR, 4 * HOUR
GANG, GANG_EVERY_S, GANGS_OF = 16, 5 * HOUR, "vision"
GRACE_S = 90.0  # of a job that is told to go: its warning, and until it is killed
WANTED = 0.05


def queues() -> list[Queue]:
    return [
        Queue(name, tenants=(name,), deserved=deserved, weight=deserved, patience=PATIENCE_S)
        for name, deserved in DESERVED.items()
    ]


def week(days: float, seed: int, most: int) -> Trace:
    """Bursts of 4 to 16 hours with 1.3 to 2 times the work that the tenant deserves, pauses of 2 to 10 hours.

    Jobs of 1, 2, 4 and twice as often 8 devices, no more than `most`.
    """
    chance = random.Random(seed)
    jobs: list[TracedJob] = []
    for name, deserved in DESERVED.items():
        at = chance.uniform(0, 4) * HOUR
        while at < days * DAY:
            end, load = at + chance.uniform(4, 16) * HOUR, chance.uniform(1.3, 2.0) * deserved
            while at < min(end, days * DAY):
                devices = min(most, chance.choice((1, 2, 4, 8, 8)))
                work = chance.uniform(0.25, 1.0) * LONGEST_S * chance.choice((0.25, 0.5, 1.0))
                jobs.append(_job(name, at, devices, work))
                at += devices * work / load * chance.expovariate(1.0)
            at = end + chance.uniform(2, 10) * HOUR
    times = [GANG_EVERY_S * number for number in range(1, int(days * DAY / GANG_EVERY_S))]
    jobs += [_job(GANGS_OF, at, GANG, 0.5 * LONGEST_S) for at in times]
    jobs.sort(key=lambda job: job.submitted_at)
    return Trace("week", [replace(job, id=number) for number, job in enumerate(jobs, 1)])


def _job(queue: str, at: float, devices: int, work: float) -> TracedJob:
    limit = min(LONGEST_S, 1.3 * work + 600)
    spec = replace(
        spec_of(queue, devices, 8, cpus=devices),
        queue=queue,
        time_limit=limit,
        preemptible=True,
        checkpoint_signal="USR1",
        checkpoint_lead=60.0,
    )
    return TracedJob(0, at, work, spec, queue, f"{queue}-user")


Series = Sequence[tuple[float, float]]


def _integral(series: Series, begin: float, end: float, most: float = float("inf")) -> float:
    """Of a step function, cut off at `most`."""
    first = max(0, bisect_right(series, begin, key=lambda step: step[0]) - 1)
    total = 0.0
    for (at, value), (after, _) in pairwise([*series[first:], (float("inf"), 0.0)]):
        if at >= end:
            break
        total += min(value, most) * max(0.0, min(after, end) - max(at, begin))
    return total


class Stretch(NamedTuple):
    """24 h of a tenant."""

    shortfall: float = -math.inf  # a share; below zero it had more
    begin: float = 0.0
    entitled: float = math.inf  # device-seconds


def shortfalls(outcome: Outcome, days: float) -> dict[str, Stretch]:
    """By tenant, the worst of all stretches of 24 h, moved by an hour at a time."""
    worst = dict.fromkeys(DESERVED, Stretch())
    for name, deserved in DESERVED.items():
        for hour in range(int((days - 1) * 24) + 1):
            begin, end = hour * HOUR, hour * HOUR + DAY
            entitled = _integral(outcome.asked[name], begin, end, deserved)
            if entitled > 0.05 * deserved * DAY:
                held = _integral(outcome.held[name], begin, end)
                worst[name] = max(worst[name], Stretch(1.0 - held / entitled, begin, entitled))
    return worst


def gangs(outcome: Outcome) -> tuple[float, float]:
    """The longest wait of a gang until it first starts, and the most of a gang's wait by its bound."""
    never = float("inf")
    queue = [job for job in outcome.jobs if job.queue == GANGS_OF]
    longest = worst = 0.0
    for job in queue:
        if job.devices < GANG:
            continue
        overdue = job.submitted_at + PATIENCE_S
        ahead = sum(
            other.submitted_at < job.submitted_at
            and (never if other.started_at is None else other.started_at) > overdue
            for other in queue
        )
        wait = (never if job.started_at is None else job.started_at) - job.submitted_at
        longest, worst = max(longest, wait), max(worst, wait / (PATIENCE_S + (ahead + 2) * (LONGEST_S + GRACE_S)))
    return longest, worst


def _plot(path: Path, outcome: Outcome) -> None:
    lines = [Line(name, [(at / HOUR, held) for at, held in outcome.held[name]], steps=True) for name in DESERVED]
    path.write_text(document("devices held by tenant", lines, Axis("hours"), Axis("devices")))


def _tell_causes(causes: Causes, worst: Mapping[str, Stretch]) -> None:
    parts = {name: causes.between(name, stretch.begin, stretch.begin + DAY) for name, stretch in worst.items()}
    print(f"\nOf what it was entitled to in its worst 24 h:\n\n| | {' | '.join(worst)} |")
    print("|---|" + "---:|" * len(worst))
    for cause in (LARGER, KEPT, GRACE, OWED, NODES, TAKEN, BEYOND):
        shares = (parts[name].get(cause, 0.0) / worst[name].entitled for name in worst)
        print(f"| {cause} | {' | '.join(f'{share:.1%}' for share in shares)} |")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=float, default=7.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--most", type=int, default=8, help="devices of the largest job of a burst")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--causes", action="store_true", help="what the worst shortfalls are made of")
    parser.add_argument("--moment", action="store_true", help="nothing that a queue was short of is made up for")
    given = parser.parse_args()
    if given.moment:
        credit.MOST_OWED_S = 0.0
    trace = week(given.days, given.seed, given.most)
    causes = Causes(DESERVED, ORIGIN)
    settings = Settings(Policy(), queues=tuple(queues()), seen=causes if given.causes else None)
    outcome = simulate(trace, nodes_of("8xH100:8"), settings)
    worst, (longest, by_bound) = shortfalls(outcome, given.days), gangs(outcome)
    measures = measure(outcome)
    print(f"{len(trace.jobs):,} jobs; allocation {measures.allocation:.1%}; {measures.preemptions:,} preemptions")
    print("\n| tenant | deserves | worst shortfall over 24 h | wanted |\n|---|---:|---:|---:|")
    for name, deserved in DESERVED.items():
        print(f"| {name} | {deserved:g} | {max(0.0, worst[name].shortfall):.1%} | <= {WANTED:.0%} |")
    print(f"\nlongest wait of a gang of {GANG}: {longest / HOUR:.1f} h; most of its bound: {by_bound:.2f} (<= 1)")
    if given.causes:
        _tell_causes(causes, worst)
    if given.plot:
        _plot(given.plot, outcome)
    return 0


if __name__ == "__main__":
    sys.exit(main())
