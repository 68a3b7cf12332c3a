"""``stoker nodes``: what there is, and what is free on it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from stoker.cli.jobs import ACTIVE
from stoker.cli.render import AsJson, columns, print_json, say
from stoker.cli.session import connect
from stoker.cluster import WHOLE, Device, Node
from stoker.job import Job, JobState
from stoker.units import format_bytes

HEADER = ("NODE", "STATE", "CPUS", "MEMORY", "DEVICES", "FREE", "JOBS", "ENGINE")
HOLDING = tuple(state for state in ACTIVE if state is not JobState.PENDING)


def nodes(json: AsJson = False) -> None:
    """List nodes and what is free on them.

    CPUs and memory as used/all; devices by model.
    """
    client = connect()
    found = client.nodes()
    if json:
        print_json(found)
    else:
        say(table(found, client.jobs.list(states=HOLDING, limit=10_000)))


def table(found: Sequence[Node], holding: Iterable[Job]) -> str:
    jobs = list(holding)
    return columns(HEADER, [_row(node, [j for j in jobs if _is_on(j, node)]) for node in found], right=("JOBS",))


def _is_on(job: Job, node: Node) -> bool:
    return any(placement.node == node.name for placement in job.placements)


def _row(node: Node, jobs: Sequence[Job]) -> Sequence[str]:
    cpus = sum(job.spec.resources.cpus for job in jobs)
    memory = sum(job.spec.resources.memory for job in jobs)
    return (
        node.name,
        "idle" if node.schedulable and not jobs else "busy" if node.schedulable else f"drained ({node.reason})",
        f"{cpus}/{node.cpus}",
        f"{format_bytes(memory)}/{format_bytes(node.memory)}" if memory else f"0/{format_bytes(node.memory)}",
        _models(node.devices),
        _models(node.devices, _free(node, jobs)),
        str(len(jobs)),
        node.engine,
    )


def _models(devices: Sequence[Device], free: Mapping[int, int] | None = None) -> str:
    """``H100:8,T4:1.5``: how many of each model; with `free`, how many of them nobody holds."""
    amounts: dict[str, int] = {}
    for device in devices:
        milli = WHOLE if free is None else free[device.index]
        amounts[device.model] = amounts.get(device.model, 0) + milli
    return ",".join(f"{model}:{milli / WHOLE:g}" for model, milli in amounts.items()) or "-"


def _free(node: Node, jobs: Sequence[Job]) -> Mapping[int, int]:
    """Thousandths of each device that nobody holds, by its index."""
    free = {device.index: WHOLE for device in node.devices}
    for job in jobs:
        for placement in job.placements:
            for index in placement.devices if placement.node == node.name else ():
                free[index] = free.get(index, 0) - job.spec.resources.milli
    return free
