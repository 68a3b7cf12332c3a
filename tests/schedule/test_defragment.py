"""Moves that let a job in: few, enough, and nobody else is pushed out."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.cluster import Device, Node
from stoker.job import Job, JobSpec, JobState, Placement, Resources
from stoker.schedule.defragment import Relief, by_row, relieve
from stoker.schedule.field import Field
from stoker.schedule.pool import Pool

GIB = 1 << 30


def node(name: str, gpus: int = 4, cpus: int = 32, engine: str = "e") -> Node:
    return Node(name, engine, cpus, 64 * GIB, tuple(Device(index, "H100") for index in range(gpus)))


def spec(devices: int, cpus: int = 1, milli: int = 1000, **fields: object) -> JobSpec:
    return JobSpec(command=("x",), resources=Resources(devices, (), milli, cpus), **fields)  # type: ignore[arg-type]


def runs(number: int, name: str, devices: tuple[int, ...], engine: str = "e", **fields: object) -> Job:
    asked = spec(len(devices), **fields)  # type: ignore[arg-type]
    return Job(
        number, asked, "t", "o", JobState.RUNNING, 0.0, engine=engine, placements=(Placement(name, devices),)
    )


def solve(nodes: list[Node], jobs: list[Job], wanted: JobSpec, most: int = 2, **fields: object) -> Relief | None:
    pool = Pool().at(nodes, jobs)
    return relieve(pool, wanted, by_row(pool, jobs), most, **fields)  # type: ignore[arg-type]


def test_one_move_makes_a_node_whole() -> None:
    jobs = [runs(1, "a", (0,)), runs(2, "b", (0, 1))]
    relief = solve([node("a"), node("b")], jobs, spec(4))
    assert relief is not None
    assert [(move.job.id, move.placements[0].node) for move in relief.moves] == [(1, "b")]
    assert relief.placements == (Placement("a", (0, 1, 2, 3)),)


def test_shares_on_one_node_are_put_together() -> None:
    jobs = [runs(at, "a", (at,), milli=500) for at in range(2)]
    relief = solve([node("a", gpus=2)], jobs, spec(1))
    assert relief is not None
    assert len(relief.moves) == 1
    assert relief.placements[0].devices != relief.moves[0].placements[0].devices


def test_what_holds_only_cpus_makes_room_for_devices() -> None:
    jobs = [runs(1, "a", (), cpus=30)]
    relief = solve([node("a"), node("b", gpus=0)], jobs, spec(2, cpus=16))
    assert relief is not None
    assert relief.moves[0].placements == (Placement("b"),)


def test_a_gang_gets_its_nodes_one_after_the_other() -> None:
    jobs = [runs(1, "a", (0,)), runs(2, "b", (0,)), runs(3, "c", (0, 1))]
    relief = solve([node("a"), node("b"), node("c")], jobs, spec(4, nodes=2))
    assert relief is not None
    assert len(relief.moves) == len(relief.placements) == 2
    assert solve([node("a"), node("b"), node("c")], jobs, spec(4, nodes=2), most=1) is None


def test_the_cheaper_job_goes() -> None:
    jobs = [runs(1, "a", (0,)), runs(2, "b", (0,))]
    lost = {1: 300.0, 2: 20.0}
    relief = solve([node("a"), node("b")], jobs, spec(4), cost=lambda job: lost[job.id])
    assert relief is not None
    assert ([move.job.id for move in relief.moves], relief.lost) == ([2], 20.0)


def test_nobody_moves_where_that_lets_nothing_in() -> None:
    jobs = [runs(1, "a", (0, 1, 2)), runs(2, "b", (0, 1, 2))]
    assert solve([node("a"), node("b")], jobs, spec(4)) is None
    assert relieve(Pool().at([node("a"), node("b")], jobs), spec(4), {}, 2) is None


def shares(number: int, name: str, device: int, milli: int) -> Job:
    return runs(number, name, (device,), milli=milli)


def test_two_that_share_devices_change_places() -> None:
    """200 are free beside 500 and 300 on each device: 400 fit when the 500 are on one and the 300 on the other."""
    sizes = ((1, "a", 500), (2, "a", 300), (3, "b", 500), (4, "b", 300))
    jobs = [shares(number, name, 0, milli) for number, name, milli in sizes]
    pool = [node("a", gpus=1), node("b", gpus=1)]
    relief = solve(pool, jobs, spec(1, milli=400))
    assert relief is not None
    one, other = relief.moves
    assert {one.job.spec.resources.milli, other.job.spec.resources.milli} == {500, 300}
    assert (one.placements, other.placements) == (other.job.placements, one.job.placements)
    assert one.placements != other.placements
    assert solve(pool, jobs, spec(1, milli=400), most=1) is None


def test_the_cheaper_ones_change_places() -> None:
    jobs = [
        shares(2 * device + at, name, 0, milli)
        for device, name in enumerate("abc")
        for at, milli in enumerate((500, 300))
    ]
    lost = {2: 2.0, 5: 1.0}  # the larger one on b and the smaller one on c
    pool = [node(name, gpus=1) for name in "abc"]
    relief = solve(pool, jobs, spec(1, milli=400), cost=lambda job: lost.get(job.id, 9.0))
    assert relief is not None
    assert (sorted(move.job.id for move in relief.moves), relief.lost) == ([2, 5], 3.0)


JOBS = st.tuples(
    st.integers(0, 3), st.integers(0, 12), st.sampled_from([1000, 1000, 500, 250]), st.sampled_from("ef")
)


@settings(max_examples=60, deadline=None)
@given(
    load=st.lists(JOBS, min_size=4, max_size=14),
    ends=st.sets(st.integers(0, 13)),
    wanted=st.builds(spec, st.integers(1, 4), st.integers(0, 16), nodes=st.integers(1, 2)),
    most=st.integers(1, 3),
)
def test_laws(load: list[tuple[int, int, int, str]], ends: set[int], wanted: JobSpec, most: int) -> None:
    """The plan can be carried out as it says, and the field is left as it was."""
    nodes = [node("a"), node("b", gpus=2, cpus=16), node("c", engine="f"), node("d", gpus=0, engine="f")]
    pool = Pool().at(nodes, ())
    jobs = []
    for number, (devices, cpus, milli, engine) in enumerate(load):
        asked = spec(devices, cpus, milli, engine=engine)
        where, placements = pool.fit(asked)
        if placements:
            pool.take(asked, where, placements)
            job = Job(number, asked, "t", "o", JobState.RUNNING, 0.0)
            jobs.append(dataclasses.replace(job, engine=where, placements=placements))
    for job in [job for job in jobs if job.id in ends]:
        pool.give(job.spec, job.engine, job.placements)
        jobs.remove(job)
    missing = pool.missing(wanted)
    before = [array.copy() for array in pool.room.arrays()]
    relief = relieve(pool, wanted, by_row(pool, jobs), most)
    assert all(np.array_equal(*pair) for pair in zip(before, pool.room.arrays(), strict=True))
    if pool.fit(wanted)[1]:
        assert relief is not None
        assert relief.moves == ()
    if relief is not None:
        assert not missing
        carry_out(pool, wanted, relief, most)


def carry_out(pool: Field, wanted: JobSpec, relief: Relief, most: int) -> None:
    assert len(relief.moves) <= most
    assert len({move.job.id for move in relief.moves}) == len(relief.moves)
    for move in relief.moves:
        pool.give(move.job.spec, move.job.engine, move.job.placements)
        pool.take(move.job.spec, move.engine, move.placements)
        assert move.engine == move.job.spec.engine
    assert len(relief.placements) == wanted.nodes
    pool.take(wanted, relief.engine, relief.placements)
    assert all((array >= 0).all() for array in pool.room.arrays())


@pytest.mark.parametrize("most", [1, 2])
def test_one_of_two_engines_gives_room(most: int) -> None:
    jobs = [runs(1, "a", (0,)), runs(2, "b", (0, 1), engine="f"), runs(3, "b", (2,), engine="f")]
    relief = solve([node("a"), node("b", engine="f"), node("c", gpus=1)], jobs, spec(4), most)
    assert relief is not None
    assert (relief.engine, len(relief.moves)) == ("e", 1)
