"""Lending: training on its own nodes alone, or on those that inference does not need at the moment as well.

    python benchmarks/lending.py [--setups trace3:8+8,trace1:32+32,philly:8+8] [--plot docs/images/lending.svg]

Training jobs of a trace come to T nodes; inference has I nodes, and its demand follows the hours of a production
service (alibaba-v2026-GenAI/qps.csv; peak: all I nodes). As muri/experiment.md of the data folder has it, jobs save
themselves every 30 minutes and take 60 s to start again. *static*: training has its T nodes. *lending*: all T + I
nodes are one pool. How many replicas there are decides `schedule.lend`, as on a running platform, from the load of
each five minutes; a replica is a job of high priority that displaces the cheapest training jobs when no node is
free, and answers a minute after its start. Work is what the trace calls duration.

Everything else is the scheduler of production. Under `first` training jobs come in order and fill what is free, and
never displace each other: so the two are told apart by lending alone. Under `likely` those that are likely to end
soon go first. `elastic` says that jobs on several nodes run on any part of these too, as much slower. `saves` says
that jobs save themselves when told to go, which most frameworks can. Printed: mean JCT and queueing of training,
minutes in which inference had less than it needed, preemptions (moves of training and growing included) and work
done twice.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from stoker.schedule.policy import parse
from stoker.simulate import Inference, Outcome, Settings, Trace, TracedJob, simulate
from stoker.simulate.demand import read_demand
from stoker.simulate.inference import inference_of
from stoker.simulate.measures import measure
from stoker.simulate.picture import Axis, Line, document
from stoker.simulate.pool import nodes_of
from stoker.simulate.readers import MURI_SLOWER, read_trace

GPUS = 8
TICK_S = 300.0
SAVED_EVERY_S, RESTART_S, AHEAD_S = 1800.0, 60.0, 300.0
COMMON = f"backfill=greedy,min_runtime=0,restart={RESTART_S:g},forecast={AHEAD_S:g},reserve=0"
FIRST, LIKELY = f"order=first-come,{COMMON}", f"order=likely-end,{COMMON}"
SCRATCH = {"trace3:8+8": (480_901, 72_983), "trace1:32+32": (293_211, 251_272)}


@dataclass(frozen=True)
class Result:
    jct: float
    queueing: float
    unmet: float  # minutes
    preemptions: int
    lost: float  # GPU-hours, of work and of starts after a preemption
    outcome: Outcome


def trained(trace: Trace, nodes: int, *, saves: bool, elastic: bool, slower: float = 1.0) -> list[TracedJob]:
    """Jobs that may be preempted; none asks for more than the nodes of training.

    `slower`: by how much the reader has lengthened work beyond the trace's own durations.
    """
    return [
        replace(
            job,
            work=job.work / slower,
            restart=None,
            spec=replace(
                job.spec,
                nodes=min(job.spec.nodes, nodes),
                min_nodes=1 if elastic and job.spec.nodes > 1 else 0,
                preemptible=True,
                checkpoint_every=SAVED_EVERY_S,
                checkpoint_signal="USR1" if saves else "",
                checkpoint_lead=0.0,
            ),
        )
        for job in trace.jobs
    ]


def run(jobs: Sequence[TracedJob], nodes: int, policy: str, inference: Inference | None = None) -> Result:
    trace = Trace("lending", jobs, inference=inference)
    outcome = simulate(trace, nodes_of(f"{nodes}xGPU:{GPUS}"), Settings(parse(policy)))
    told = measure(outcome)
    return Result(
        told.completion.mean,
        told.queueing.mean,
        (told.unmet or 0.0) / 60,
        told.preemptions,
        (told.lost + told.starting) / 3600,
        outcome,
    )


def _row(name: str, result: Result, base: Result) -> str:
    return (
        f"| {name} | {result.jct:,.0f} s | {base.jct / result.jct:.2f} | {result.queueing:,.0f} s |"
        f" {base.queueing / max(result.queueing, 1.0):.2f} | {result.unmet:,.0f} | {result.preemptions:,} |"
        f" {result.lost:,.0f} |"
    )


def experiment(folder: Path, setup: str, most: int) -> dict[str, Result]:
    name, _, sizes = setup.partition(":")
    own, others = (int(size) for size in sizes.split("+"))
    path = (
        folder / "chronus-philly" / "trace_job_Philly_SLO.csv"
        if name == "philly"
        else folder / "muri" / f"{name}.csv"
    )
    trace = read_trace(path).first(most)
    demand = read_demand(folder / "alibaba-v2026-GenAI" / "qps.csv", ceiling=others)
    inference = inference_of(demand, ceiling=others, devices=GPUS, tick=TICK_S)
    slower = 1.0 if name == "philly" else MURI_SLOWER
    print(f"\n{setup}: {len(trace.jobs):,} jobs; scratch figures (static, lending): {SCRATCH.get(setup, '-')}\n")
    print("| | mean JCT | times | queueing | times | demand unmet, min | preemptions | lost, GPU-hours |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|", flush=True)
    found: dict[str, Result] = {}
    for told, saves, elastic, policy, lent in (
        ("static, first", False, False, FIRST, False),
        ("lending, first", False, False, FIRST, True),
        ("static, likely", False, False, LIKELY, False),
        ("lending, likely", False, False, LIKELY, True),
        ("lending, likely, elastic", False, True, LIKELY, True),
        ("lending, likely, saves", True, False, LIKELY, True),
    ):
        jobs = trained(trace, own, saves=saves, elastic=elastic, slower=slower)
        found[told] = run(jobs, own + others, policy, inference) if lent else run(jobs, own, policy)
        print(_row(told, found[told], found["static, first"]), flush=True)
    return found


def _plot(path: Path, found: dict[str, Result]) -> None:
    lines = []
    for name, result in found.items():
        times = sorted(job.completion or 1.0 for job in result.outcome.jobs if not job.serving)
        lines.append(Line(name, [(max(1.0, one), (at + 1) / len(times)) for at, one in enumerate(times)]))
    title = "share of training jobs done within a completion time"
    path.write_text(document(title, lines, Axis("seconds", log=True), Axis("")))


def main() -> int:
    shared = Path(os.environ.get("STOKER_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=shared / "traces")
    parser.add_argument("--setups", default="trace3:8+8,trace1:32+32")
    parser.add_argument("--jobs", type=int, default=0, help="only the first so many; 0: all")
    parser.add_argument("--plot", type=Path)
    given = parser.parse_args()
    if not given.folder.is_dir():
        print(f"no traces in {given.folder}; set STOKER_SHARED or --folder", file=sys.stderr)
        return 2
    found = [experiment(given.folder, setup, given.jobs) for setup in given.setups.split(",")]
    if given.plot:
        _plot(given.plot, found[0])
    return 0


if __name__ == "__main__":
    sys.exit(main())
