"""Placement over several engines: sites, taints, shared machines, others' jobs, whole nodes."""

from __future__ import annotations

import dataclasses

from stoker.cluster import Device, Node
from stoker.foreign import ForeignJob, Held
from stoker.job import Job, JobSpec, JobState, Placement, Resources
from stoker.schedule import Plan, Snapshot, decide, unfit


def node(name: str, engine: str, *, gpus: int = 8, **fields: object) -> Node:
    devices = tuple(Device(index, "H100") for index in range(gpus))
    return Node(name, engine, 16, 64 << 30, devices, **fields)  # type: ignore[arg-type]


def job(number: int, gpus: int = 0, **fields: object) -> Job:
    spec = JobSpec(command=("x",), resources=Resources(accelerators=gpus), **fields)  # type: ignore[arg-type]
    return Job(number, spec, "t", "o", JobState.PENDING, 0.0)


def on(pending: Job, engine: str, *placements: Placement) -> Job:
    return dataclasses.replace(
        pending, state=JobState.RUNNING, engine=engine, placements=placements, started_at=1.0
    )


def plan(
    nodes: list[Node], pending: list[Job], active: tuple[Job, ...] = (), others: tuple[ForeignJob, ...] = ()
) -> Plan:
    return decide(Snapshot(100.0, nodes, pending, active, others=others))


def where(result: Plan) -> dict[int, tuple[str, list[str]]]:
    return {start.job.id: (start.engine, [p.node for p in start.placements]) for start in result.starts}


def test_two_engines_may_have_nodes_of_one_name_on_different_machines() -> None:
    nodes = [node("gpu0", "a", host="room1-gpu0"), node("gpu0", "b", host="room2-gpu0")]
    result = plan(nodes, [job(1, 8), job(2, 8)])
    assert where(result) == {1: ("a", ["gpu0"]), 2: ("b", ["gpu0"])}


def test_a_machine_of_two_engines_is_given_away_once() -> None:
    nodes = [node("gpu0", "slurm"), node("gpu0.cluster.local", "kubernetes")]
    assert where(plan(nodes, [job(1, 8), job(2, 8)])) == {1: ("slurm", ["gpu0"])}
    running = on(job(1, 8), "kubernetes", Placement("gpu0.cluster.local", tuple(range(8))))
    assert where(plan(nodes, [job(2, 1)], (running,))) == {}


def test_a_gang_stays_on_one_engine() -> None:
    nodes = [node("a0", "a"), node("b0", "b"), node("b1", "b")]
    assert where(plan(nodes, [job(1, 8, nodes=2)])) == {1: ("b", ["b0", "b1"])}


def test_what_others_hold_is_not_free() -> None:
    other = ForeignJob("slurm", "17", "theirs", "eve", JobState.RUNNING, (Held("gpu0", devices=5),))
    named = dataclasses.replace(other, held=(Held("gpu0", devices=2, indexes=(0, 3)),))
    nodes = [node("gpu0", "slurm")]
    assert where(plan(nodes, [job(1, 4)], others=(other,))) == {}
    assert where(plan(nodes, [job(1, 3)], others=(other,))) == {1: ("slurm", ["gpu0"])}
    (start,) = plan(nodes, [job(1, 2)], others=(named,)).starts
    assert start.placements[0].devices == (1, 2)


def test_taints_and_sites() -> None:
    nodes = [node("cloud0", "cloud", site="cloud", taints=("costly",)), node("here0", "here", site="on-prem")]
    assert where(plan(nodes, [job(1, 1)])) == {1: ("here", ["here0"])}
    assert where(plan(nodes, [job(1, 1, sites=("cloud",))])) == {}
    tolerant = job(1, 1, sites=("cloud",), tolerations=("costly",))
    assert where(plan(nodes, [tolerant])) == {1: ("cloud", ["cloud0"])}


def test_the_impossible_is_told_in_one_line() -> None:
    nodes = [node("cloud0", "cloud", site="cloud", taints=("costly",))]
    assert unfit(job(1, 1).spec, nodes) == "tolerates none of: costly"
    assert unfit(job(1, 1, sites=("clod",)).spec, nodes) == "asks for the site clod; near names: cloud"


def test_an_exclusive_job_takes_whole_nodes_and_waits_for_them() -> None:
    nodes = [node("a0", "a"), node("a1", "a")]
    small = on(job(1, 1), "a", Placement("a0", (0,)))
    assert where(plan(nodes, [job(2, 1, exclusive=True)], (small,))) == {2: ("a", ["a1"])}
    whole = on(job(2, 1, exclusive=True), "a", Placement("a1", (0,)))
    assert where(plan(nodes[1:], [job(3, 1)], (whole,))) == {}


def test_where_memory_is_rationed_a_job_that_names_none_takes_its_share() -> None:
    rationed = [node("a0", "a", rations_memory=True), node("a1", "a", rations_memory=True)]
    greedy = ForeignJob("a", "1", "theirs", "eve", JobState.RUNNING, (Held("a0", cpus=1, memory=64 << 30),))
    assert where(plan(rationed, [job(1, 1)], others=(greedy,))) == {1: ("a", ["a1"])}
    assert where(plan([node("a0", "a")], [job(1, 1)], others=(greedy,))) == {1: ("a", ["a0"])}
    assert len(where(plan(rationed[:1], [job(number, 0) for number in range(1, 20)]))) == 16


def test_a_node_takes_no_more_jobs_than_its_engine_lets_it() -> None:
    nodes = [node("a", "k8s", slots=2), node("b", "k8s", slots=1)]
    assert len(where(plan(nodes, [job(number) for number in range(1, 6)]))) == 3
