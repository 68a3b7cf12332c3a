"""Options of ``stoker simulate`` and ``stoker tune-policy`` for inference beside the jobs of a trace."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from stoker.cli.session import connect
from stoker.errors import BadInput
from stoker.job import FINAL, Job
from stoker.simulate import Inference, Trace
from stoker.simulate.demand import ENDPOINT, demand_of, read_demand
from stoker.simulate.inference import inference_of
from stoker.units import parse_duration

HISTORY = "history"
MOST_JOBS = 100_000  # of the platform's history


@dataclass(frozen=True)
class Asked:
    """What may be said of inference beside the jobs."""

    inference: Annotated[
        str,
        typer.Option(
            metavar="FILE", help="Inference beside the jobs: replicas or requests over time; or: history."
        ),
    ] = ""
    replica_devices: Annotated[int, typer.Option(min=1, max=1024, help="Devices that a replica holds.")] = 1
    replica_qps: Annotated[
        float,
        typer.Option(min=0.0, help="Requests a second that one replica answers, where the file tells requests."),
    ] = 0.0
    replica_start: Annotated[str, typer.Option(metavar="TIME", help="From its start until a replica answers.")] = (
        "1m"
    )
    floor: Annotated[int, typer.Option(min=0, help="Replicas that stay whatever the load.")] = 1
    ceiling: Annotated[int, typer.Option(min=0, help="Replicas at most; 0: as many as are ever needed.")] = 0


def with_inference(trace: Trace, asked: Asked) -> Trace:
    """`trace` with what was asked for beside it; replicas of its own history are then not jobs of it any more.

    Raises BadInput.
    """
    if not asked.inference:
        return trace
    if asked.ceiling and asked.floor > asked.ceiling:
        raise BadInput(f"--floor {asked.floor} was given; it cannot be above --ceiling {asked.ceiling}")
    inference = _inference(trace, asked)
    jobs = [job for job in trace.jobs if ENDPOINT not in job.spec.labels]
    if not jobs:
        raise BadInput(f"trace {trace.name} holds no job but replicas of endpoints")
    return replace(trace, jobs=jobs, inference=inference)


def _inference(trace: Trace, asked: Asked) -> Inference:
    if asked.inference == HISTORY:
        demand = demand_of(history(), begin=trace.begin if trace.name == HISTORY else None)
    else:
        demand = read_demand(Path(asked.inference), ceiling=asked.ceiling, per_replica=asked.replica_qps)
    begins = parse_duration(asked.replica_start)
    return inference_of(
        demand, floor=asked.floor, ceiling=asked.ceiling, devices=asked.replica_devices, begins=begins
    )


def history() -> list[Job]:
    """Jobs of the platform that have ended. Raises BadInput where there are none."""
    found = connect().jobs.list(states=list(FINAL), limit=MOST_JOBS)
    if not found:
        raise BadInput("the platform has no jobs that have ended yet; give a file instead")
    return list(found)
