"""The pool: who holds what, how well, and with which colour."""

from __future__ import annotations

import dataclasses

from stoker.cluster import Device, Node
from stoker.console.pool import COLOURS, MOST_CORES, colours_of, pool
from stoker.console.speed import delivered
from stoker.engine_config import EngineStatus
from stoker.foreign import ForeignJob, Held
from stoker.job import Job, JobSpec, JobState, Placement, Resources
from stoker.telemetry import Telemetry, read_telemetry

GIB = 1 << 30


def node(name: str = "n1", devices: int = 8, cpus: int = 64) -> Node:
    made = tuple(Device(index, "H100", 80 * GIB) for index in range(devices))
    return Node(name, "local", cpus, 512 * GIB, made)


def job(number: int, owner: str, placements: tuple[Placement, ...], **need: int) -> Job:
    spec = JobSpec(f"job-{number}", ("true",), resources=Resources(**need))  # type: ignore[arg-type]
    return Job(number, spec, "t", owner, JobState.RUNNING, 0.0, engine="local", placements=placements)


def test_each_device_shows_who_uses_it_and_how_well() -> None:
    jobs = [job(1, "li", (Placement("n1", (0, 1)),), accelerators=2), job(2, "ma", (Placement("n1", (5,)),))]
    made = pool([node()], jobs, {1: 0.61})
    cells = made.nodes[0].cells
    assert [bool(cell.jobs) for cell in cells] == [True, True, False, False, False, True, False, False]
    assert [cells[at].level for at in (0, 5, 7)] == [12, 20, 0]
    assert [cells[at].share for at in (0, 5)] == [0.61, None]
    assert (made.devices, made.devices_used) == (8, 3)
    assert [(use.owner, use.cells) for use in made.owners] == [("li", 2), ("ma", 1)]
    assert made.delivered == 0.61


def test_a_machine_of_two_engines_is_counted_once() -> None:
    twins = [dataclasses.replace(node(cpus=cpus), engine=engine) for engine, cpus in (("local", 64), ("k8s", 60))]
    made = pool([*twins, node("n2")], [job(1, "li", (Placement("n1", (0, 1)),), accelerators=2)], {})
    assert (made.devices, made.devices_used, made.cpus, made.memory) == (16, 2, 128, 1024 * GIB)


def test_a_shared_device_counts_its_thousandths() -> None:
    jobs = [job(number, "li", (Placement("n1", (0,)),), accelerators=1, milli=250) for number in (1, 2)]
    cell = pool([node()], jobs, {}).nodes[0].cells[0]
    assert (cell.milli, len(cell.jobs)) == (500, 2)


def test_a_node_without_devices_shows_its_cores() -> None:
    made = pool([node(devices=0, cpus=4)], [job(1, "li", (Placement("n1"),), cpus=3)], {})
    assert [bool(cell.jobs) for cell in made.nodes[0].cells] == [True, True, True, False]
    assert (made.devices, made.cpus_used) == (0, 3)


def test_a_big_node_without_devices_shows_only_its_figures() -> None:
    assert pool([node(devices=0, cpus=MOST_CORES + 1)], [], {}).nodes[0].cells == ()


def test_a_job_over_many_nodes_holds_its_share_of_each() -> None:
    spread = job(1, "li", (Placement("n1", (0,)), Placement("n2", (7,))), accelerators=1, cpus=4, memory=GIB)
    made = pool([node("n1"), node("n2")], [spread], {})
    assert [field.cpus_used for field in made.nodes] == [4, 4]
    assert made.memory_used == 2 * GIB
    assert made.nodes[1].cells[7].jobs == (spread,)


def test_waiting_and_ended_jobs_hold_nothing() -> None:
    held = job(1, "li", (Placement("n1", (0,)),))
    ended = [dataclasses.replace(held, state=state) for state in (JobState.PENDING, JobState.SUCCEEDED)]
    assert pool([node()], ended, {}).devices_used == 0


def test_owners_keep_their_colour_and_none_is_used_twice_while_there_are_enough() -> None:
    few = colours_of([f"owner-{number}" for number in range(COLOURS)])
    assert len(set(few.values())) == COLOURS
    assert colours_of(["owner-3"])["owner-3"] == colours_of(["owner-3"])["owner-3"]
    assert len(colours_of([f"owner-{number}" for number in range(40)])) == 40


def test_delivered_is_measured_over_expected() -> None:
    lines = [
        b'{"kind": "expect", "name": "tokens_per_s", "value": 100, "low": 9, "high": 110, "unit": "", "basis": ""}',
        b'{"kind": "progress", "at": 1, "step": 1, "values": {"tokens_per_s": 61}}',
    ]
    assert delivered(read_telemetry(lines, "job/1")) == 0.61
    assert delivered(read_telemetry(lines[:1], "job/1")) is None
    torn = b'{"kind": "progress", "at": 2, "step": 2, "values": {"tokens_per_s": NaN}}'
    assert delivered(read_telemetry([*lines, torn], "job/1")) == 0.61
    assert delivered(read_telemetry([lines[0], torn], "job/1")) is None
    assert delivered(Telemetry()) is None


def other(node: str, devices: int, indexes: tuple[int, ...] = ()) -> ForeignJob:
    return ForeignJob("local", "77", "theirs", "eve", JobState.RUNNING, (Held(node, 3, GIB, devices, indexes),))


def test_what_others_hold_is_shown_beside_ours() -> None:
    mine = job(1, "li", (Placement("n1", (0, 1)),), accelerators=2)
    field = pool([node()], [mine], {}, others=[other("n1", 2)]).nodes[0]
    assert [cell.foreign is not None for cell in field.cells] == [False, False, True, True, *[False] * 4]
    assert (field.cpus_used, field.memory_used) == (1 + 3, GIB)
    made = pool([node()], [mine], {}, others=[other("n1", 2, (5, 7))])
    assert [at for at, cell in enumerate(made.nodes[0].cells) if cell.foreign] == [5, 7]
    assert (made.devices_used, made.foreign) == (4, 2)


def test_nodes_stand_with_their_engine_and_engines_without_nodes_are_told() -> None:
    far = dataclasses.replace(node(), engine="far")
    mine = dataclasses.replace(job(1, "li", (Placement("n1", (0,)),), accelerators=1), engine="far")
    away = EngineStatus("gone", "slurm", away="connection refused")
    made = pool([node(), far], [mine], {}, [EngineStatus("far", "slurm"), away])
    assert [(engine.name, len(engine.nodes)) for engine in made.engines] == [("local", 1), ("far", 1), ("gone", 0)]
    assert [len(field.jobs) for field in made.nodes] == [0, 1]
    assert made.engines[2].status is away
