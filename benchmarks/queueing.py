"""Queueing of training jobs on 64 GPUs: mean completion times beside those published for Muri's traces.

    python benchmarks/queueing.py [--traces trace1,...] [--only protocol|stoker] [--plot docs/images/queueing.svg]

Two parts. *protocol*: SRTF and SRSF with exactly the rules of muri/experiment.md of the data folder, as a check
that traces, overheads and placement are understood: placements are rebuilt at every event, and every running job
pays its overhead. *stoker*: the scheduler of production under one policy for all traces, which is not told any
duration, beside the published figures of the policies that are not told either. There a job pays its overhead when
it starts and nothing else, and stays where it is until it is displaced: moving costs a start. Events (a job comes,
ends, is displaced, comes back) are by second of processor time.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from stoker.schedule.policy import Policy, parse
from stoker.simulate import Settings, Trace, TracedJob, simulate
from stoker.simulate.measures import Measures, measure
from stoker.simulate.picture import Axis, Line, document
from stoker.simulate.pool import nodes_of
from stoker.simulate.readers import read_trace

TRACES = ("trace1", "trace1_pr", "trace3", "trace3_pr")
CLUSTER, NODES, GPUS = "8xGPU:8", 8, 8
UNKNOWING = ("Tiresias_L", "themis", "antman")  # what is to be beaten
SHARING = "Muri_L"  # interleaves several jobs on one GPU
# One for all traces, all else as by default. Work is saved when a job is told to go, as in what was published.
POLICY = "order=likely-end,preempt=equals,backfill=greedy"


# The protocol


@dataclass
class _Running:
    job: TracedJob
    left: float  # seconds


def protocol(trace: Trace, key: Callable[[_Running], float]) -> list[float]:
    """Completion times in seconds, by the rules of the published simulator.

    Progress between two events is what passed less the overhead, and none if that is more; the next end is expected
    without it. Of equal keys the order of before stays.
    """
    coming = sorted(trace.jobs, key=lambda job: job.submitted_at)[::-1]
    now, live, running, times = 0.0, [], [], []
    while coming or live:
        begin = coming[-1].submitted_at if coming else math.inf
        end = min((now + one.left for one in running), default=math.inf)
        then = min(begin, end)
        over = [one for one in running if end <= begin and now + one.left == end]
        times += [then - one.job.submitted_at for one in over]
        gone = {id(one) for one in over}
        for one in running:
            if id(one) not in gone:
                one.left -= max(0.0, then - now - (one.job.restart or 0.0))
        live = [one for one in live if id(one) not in gone]
        now = then
        while coming and coming[-1].submitted_at == now:
            job = coming.pop()
            live.append(_Running(job, job.work))
        live.sort(key=key)
        running = _first_fit(live)
    return times


def _first_fit(ordered: Sequence[_Running]) -> list[_Running]:
    """Those that get GPUs, in their order; more than a node has takes whole nodes."""
    free, placed = [GPUS] * NODES, []
    for one in ordered:
        each, count = one.job.spec.resources.accelerators, one.job.spec.nodes
        nodes = [node for node in range(NODES) if free[node] >= each][:count]
        if len(nodes) == count:
            for node in nodes:
                free[node] -= each
            placed.append(one)
    return placed


KEYS: dict[str, Callable[[_Running], float]] = {
    "SRTF": lambda one: one.left,
    "SRSF": lambda one: one.left * one.job.devices,
}


# The scheduler of production


def produced(trace: Trace, policy: Policy) -> tuple[Measures, list[float]]:
    outcome = simulate(trace, nodes_of(CLUSTER), Settings(policy))
    return measure(outcome), [job.completion or 0.0 for job in outcome.jobs]


def saved(trace: Trace) -> Trace:
    """The same with jobs that may be preempted and save themselves when told to."""
    return replace(
        trace,
        jobs=[
            replace(job, spec=replace(job.spec, preemptible=True, checkpoint_signal="USR1", checkpoint_lead=0.0))
            for job in trace.jobs
        ],
    )


def shuffled(trace: Trace, seed: int) -> Trace:
    """The same with jobs that come at one moment in another order."""
    order = np.random.default_rng(seed).permutation(len(trace.jobs))
    jobs = sorted((trace.jobs[at] for at in order), key=lambda job: job.submitted_at)
    return replace(trace, jobs=[replace(job, id=number) for number, job in enumerate(jobs, 1)])


def _published(folder: Path) -> dict[tuple[str, str], float]:
    with (folder / "published_results.csv").open() as file:
        return {(row["trace"], row["policy"]): float(row["avg_jct_s"]) for row in csv.DictReader(file)}


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def check(traces: dict[str, Trace], published: dict[tuple[str, str], float]) -> None:
    print("\n| trace | policy | mean JCT, here | published | difference |\n|---|---|---:|---:|---:|")
    for name, trace in traces.items():
        for policy, key in KEYS.items():
            here, there = _mean(protocol(trace, key)), published[name, policy]
            print(f"| {name} | {policy} | {here:,.0f} s | {there:,.0f} s | {here / there - 1:+.4%} |", flush=True)


def compare(
    traces: dict[str, Trace], published: dict[tuple[str, str], float], policy: Policy
) -> dict[str, list[float]]:
    print(f"\n| trace | Stoker | {' | '.join(UNKNOWING)} | best of them | {SHARING} | preemptions | events/s |")
    print("|---|---:|" + "---:|" * (len(UNKNOWING) + 4))
    found: dict[str, list[float]] = {}
    for name, trace in traces.items():
        began = time.process_time()
        measures, times = produced(saved(trace), policy)
        seconds = time.process_time() - began
        here, others = measures.completion.mean, [published[name, one] for one in UNKNOWING]
        events = 2 * measures.jobs + 2 * measures.preemptions
        cells = [
            f"**{here:,.0f} s**",
            *(f"{one:,.0f} s" for one in others),
            f"{here / min(others):.3f}",
            f"{here / published[name, SHARING]:.2f}",
            f"{measures.preemptions:,}",
            f"{events / seconds:,.0f}",
        ]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
        found[name] = times
    return found


def _plot(path: Path, times: dict[str, list[float]]) -> None:
    lines = []
    for name, values in times.items():
        ordered = sorted(values)
        lines.append(Line(name, [(max(1.0, one), (at + 1) / len(ordered)) for at, one in enumerate(ordered)]))
    path.write_text(
        document("share of jobs done within a completion time", lines, Axis("seconds", log=True), Axis(""))
    )


def main() -> int:
    shared = Path(os.environ.get("STOKER_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=shared / "traces" / "muri")
    parser.add_argument("--traces", default=",".join(TRACES))
    parser.add_argument("--only", choices=("protocol", "stoker"))
    parser.add_argument("--policy", default=POLICY)
    parser.add_argument("--shuffle", type=int, metavar="SEED", help="jobs of one moment in another order")
    parser.add_argument("--plot", type=Path)
    given = parser.parse_args()
    if not given.folder.is_dir():
        print(f"no traces in {given.folder}; set STOKER_SHARED or --folder", file=sys.stderr)
        return 2
    published = _published(given.folder)
    traces = {name: read_trace(given.folder / f"{name}.csv") for name in given.traces.split(",")}
    if given.shuffle is not None:
        traces = {name: shuffled(trace, given.shuffle) for name, trace in traces.items()}
    if given.only != "stoker":
        check(traces, published)
    if given.only != "protocol":
        times = compare(traces, published, parse(given.policy))
        if given.plot:
            _plot(given.plot, times)
    return 0


if __name__ == "__main__":
    sys.exit(main())
