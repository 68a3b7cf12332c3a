"""The pool as a table: each node of each engine, who holds it, and machines that are on their way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from stoker.cli.render import columns
from stoker.cli.texts import t, word
from stoker.cluster import WHOLE, Device, Health, Node, Place
from stoker.foreign import ForeignJob
from stoker.job import Job
from stoker.node_move import NodeMove
from stoker.topology import Level
from stoker.units import format_bytes

HEADER = ("NODE", "STATE", "CPUS", "MEMORY", "DEVICES", "FREE", "OTHERS", "JOBS", "ENGINE", "SITE")
_SICK = (Health.FAILED, Health.DEGRADED)
MOVES_HEADER = ("MOVE", "NODE", "FROM", "TO", "STATE", "SINCE", "BY", "")


@dataclass(frozen=True)
class Pool:
    """What the table is made of."""

    nodes: Sequence[Node]
    jobs: Sequence[Job] = ()  # ours that hold something
    others: Sequence[ForeignJob] = ()
    moves: Sequence[NodeMove] = ()  # those that are not over
    twins: Mapping[Place, frozenset[Place]] = field(init=False)  # the machine of each node, in every engine

    def __post_init__(self) -> None:
        machines: dict[str, set[Place]] = {}
        for node in self.nodes:
            machines.setdefault(node.machine, set()).add(node.place)
        twins = {node.place: frozenset(machines[node.machine]) for node in self.nodes}
        object.__setattr__(self, "twins", twins)


def table(pool: Pool) -> str:
    """With the leaf of each node where anything is known of leaves."""
    rows = [_row(node, pool) for node in pool.nodes]
    if not any(node.domain(Level.LEAF) for node in pool.nodes):
        return columns(HEADER, rows, right=("JOBS",))
    leaves = [node.domain(Level.LEAF) or "-" for node in pool.nodes]
    placed = [(*row[:2], leaf, *row[2:]) for row, leaf in zip(rows, leaves, strict=True)]
    return columns((*HEADER[:2], "LEAF", *HEADER[2:]), placed, right=("JOBS",))


def moves_table(moves: Iterable[NodeMove], now: float) -> str:
    rows = [
        (
            str(move.id), move.source.node, move.source.engine, move.target.engine, word(move.state.value),
            _age((move.ended_at or now) - move.created_at), move.who, move.waits_for or move.message,
        )
        for move in moves
    ]  # fmt: skip
    return columns(MOVES_HEADER, rows, right=("MOVE",))


def _age(seconds: float) -> str:
    minutes = int(max(0.0, seconds)) // 60
    return f"{minutes // 60}:{minutes % 60:02}:{int(max(0.0, seconds)) % 60:02}"


def _row(node: Node, pool: Pool) -> Sequence[str]:
    places = pool.twins[node.place]
    mine = [job for job in pool.jobs if _holds(job, frozenset({node.place}))]
    cpus = sum(job.spec.resources.cpus for job in mine)
    memory = sum(job.spec.resources.memory for job in mine)
    taken = _taken(pool.others, places)
    free = _free(node, [job for job in pool.jobs if _holds(job, places)], taken)
    return (
        node.name,
        _state(node, pool, busy=bool(mine or taken)),
        f"{cpus}/{node.cpus}",
        f"{format_bytes(memory)}/{format_bytes(node.memory)}" if memory else f"0/{format_bytes(node.memory)}",
        f"{_models(node.devices)}{_sick(node.devices)}",
        _models(node.devices, free),
        str(sum(_taken(pool.others, frozenset({node.place})).values()) or "-"),
        str(len(mine)),
        node.engine,
        node.site or "-",
    )


def _state(node: Node, pool: Pool, *, busy: bool) -> str:
    for move in pool.moves:
        if node.place == move.source:
            return t("leaves for {engine}", engine=move.target.engine)
        if node.place == move.target and not node.schedulable:
            return t("comes from {engine}", engine=move.source.engine)
    if not node.schedulable:
        return f"{t('drained')} ({node.reason})" if node.reason else t("drained")
    return t("busy") if busy else t("idle")


def _holds(job: Job, places: frozenset[Place]) -> bool:
    return any(Place(job.engine, placement.node) in places for placement in job.placements)


def _taken(others: Iterable[ForeignJob], places: frozenset[Place]) -> Mapping[str, int]:
    """How many devices of the machine each job of others holds, by the job."""
    held: dict[str, int] = {}
    for other in others:
        for part in other.held:
            if part.devices and Place(other.engine, part.node) in places:
                held[f"{other.engine}/{other.id}"] = held.get(f"{other.engine}/{other.id}", 0) + part.devices
    return held


def _models(devices: Sequence[Device], free: Mapping[int, int] | None = None) -> str:
    """``H100:8,T4:1.5``: how many of each model; with `free`, how many of them nobody holds."""
    amounts: dict[str, int] = {}
    for device in devices:
        milli = WHOLE if free is None else free[device.index]
        amounts[device.model] = amounts.get(device.model, 0) + milli
    return ",".join(f"{model}:{milli / WHOLE:g}" for model, milli in amounts.items()) or "-"


def _sick(devices: Sequence[Device]) -> str:
    """`` (1 failed, 2 degraded)``"""
    counts = {health: sum(device.health is health for device in devices) for health in _SICK}
    told = [f"{count} {word(health.value)}" for health, count in counts.items() if count]
    return f" ({', '.join(told)})" if told else ""


def _free(node: Node, jobs: Iterable[Job], taken: Mapping[str, int]) -> Mapping[int, int]:
    """Thousandths of each device that nobody holds, by its index; of others it is only known how many they hold."""
    free = {device.index: WHOLE * (device.health is not Health.FAILED) for device in node.devices}
    for job in jobs:
        for placement in job.placements:
            for index in placement.devices:
                free[index] = free.get(index, 0) - job.spec.resources.milli
    freest = sorted(free, key=lambda index: (-free[index], index))
    held = dict.fromkeys(freest[: sum(taken.values())], 0)
    return {index: max(0, milli) for index, milli in {**free, **held}.items()}
