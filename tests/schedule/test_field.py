"""Where a job goes: what it makes unusable for the jobs to come decides, and arrays keep what lists would."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.cluster import Device, Health, Node
from stoker.job import JobSpec, Placement, Resources
from stoker.schedule.field import Field
from stoker.schedule.layout import layout_of
from stoker.schedule.mix import Likely, Mix, mix_of, usual_mix
from stoker.schedule.pool import field_of
from stoker.schedule.snapshot import Snapshot
from stoker.schedule.worth import Outlook, worth_of
from tests.schedule.test_preemption import pools

GIB = 1 << 30
# Mostly whole devices with 12 CPUs, some shares of 810 and of 190 thousandths with few.
MIX: Mix = (
    Likely(12, 1000, 1, (), 60.0),
    Likely(3, 810, 1, (), 20.0),
    Likely(2, 190, 1, (), 20.0),
    Likely(8, 0, 0, (), 10.0),
)


def node(name: str, gpus: int = 8, cpus: int = 96, model: str = "H100", engine: str = "e") -> Node:
    return Node(name, engine, cpus, 512 * GIB, tuple(Device(index, model) for index in range(gpus)))


def spec(devices: int = 0, cpus: int = 1, milli: int = 1000, **fields: object) -> JobSpec:
    need = Resources(accelerators=devices, cpus=cpus, milli=milli)
    return JobSpec(command=("x",), resources=need, **fields)  # type: ignore[arg-type]


def field(*nodes: Node, mix: Mix = MIX) -> Field:
    layout = layout_of(nodes)
    return Field(layout, worth_of(mix, layout.models))


def put(pool: Field, job: JobSpec) -> tuple[Placement, ...]:
    engine, placements = pool.fit(job)
    pool.take(job, engine, placements)
    return placements


def test_a_share_goes_where_a_share_is_left_over() -> None:
    pool = field(node("a"), node("b"))
    (first,) = put(pool, spec(1, cpus=3, milli=810))
    (second,) = put(pool, spec(1, cpus=2, milli=190))
    assert second == first


def test_a_job_without_devices_leaves_the_cpus_that_devices_need() -> None:
    pool = field(node("gpu", cpus=96), node("plain", gpus=0, cpus=96))
    assert put(pool, spec(cpus=64))[0].node == "plain"
    pool = field(node("tight", gpus=8, cpus=96), node("rich", gpus=2, cpus=104))
    assert put(pool, spec(cpus=32))[0].node == "rich"


def test_a_job_hungry_for_cpus_goes_where_they_are_many() -> None:
    pool = field(node("tight", gpus=8, cpus=96), node("rich", gpus=8, cpus=256))
    assert put(pool, spec(1, cpus=40))[0].node == "rich"


def test_what_is_equally_good_fills_the_first_node() -> None:
    pool = field(node("a"), node("b"), mix=usual_mix())
    assert [put(pool, spec(4, cpus=8))[0].node for _ in range(4)] == ["a", "a", "b", "b"]


def test_engines_go_in_their_order_whatever_is_lost() -> None:
    pool = field(node("a", cpus=16, engine="first"), node("b", cpus=256, engine="second"))
    assert pool.fit(spec(1, cpus=8))[0] == "first"


def test_a_job_takes_all_its_devices_of_one_model() -> None:
    mixed = Node("m", "e", 64, GIB, tuple(Device(i, "H100" if i < 2 else "T4") for i in range(6)))
    pool = field(mixed)
    assert put(pool, spec(4))[0].devices == (2, 3, 4, 5)
    assert pool.fit(spec(3)) == ("", ())
    assert put(pool, spec(2))[0].devices == (0, 1)


def test_failed_devices_are_not_given_away_and_not_given_back() -> None:
    broken = Node("n", "e", 8, GIB, (Device(0, "H100", health=Health.FAILED), Device(1, "H100")))
    pool = field(broken)
    assert put(pool, spec(1))[0].devices == (1,)
    pool.give(spec(2), "e", (Placement("n", (0, 1)),))
    assert pool.fit(spec(2)) == ("", ())


def test_the_mix_is_what_came_and_something_assumed_while_little_has() -> None:
    few = mix_of([spec(1, cpus=3, milli=810)])
    many = mix_of([spec(1, cpus=3, milli=810)] * 10_000)
    assert few[0].milli == 1000
    assert (many[0].milli, many[0].devices) == (810, 1)


JOBS = st.builds(
    spec,
    devices=st.integers(0, 3),
    cpus=st.integers(0, 40),
    milli=st.sampled_from([1000, 1000, 500, 190]),
    nodes=st.integers(1, 2),
    exclusive=st.booleans(),
)


@settings(max_examples=60, deadline=None)
@given(jobs=st.lists(JOBS, max_size=30), ends=st.lists(st.integers(0, 29), max_size=20))
def test_laws(jobs: list[JobSpec], ends: list[int]) -> None:
    """Never more than there is, gangs whole, the scores kept are those that a fresh look gives, all comes back."""
    nodes = [
        node("a", gpus=4),
        node("b", gpus=2, model="T4"),
        node("c", gpus=0, cpus=16),
        node("d", gpus=4, engine="f"),
    ]
    pool = field(*nodes)
    held: list[tuple[JobSpec, str, tuple[Placement, ...]]] = []
    for at, job in enumerate(jobs):
        anew = _anew(nodes, held)
        engine, placements = pool.fit(job)
        assert (engine, placements) == anew.fit(job)
        if placements:
            assert len(placements) == job.nodes
            assert len({placement.node for placement in placements}) == job.nodes
            assert all(len(set(placement.devices)) == job.resources.accelerators for placement in placements)
            pool.take(job, engine, placements)
            held.append((job, engine, placements))
        assert (pool.free >= 0).all()
        assert (pool.cpus >= 0).all()
        if at in ends and held:
            ended = held.pop(at % len(held))
            pool.give(*ended)
    for ended in held:
        pool.give(*ended)
    assert np.array_equal(pool.free, field(*nodes).free)


def _anew(nodes: list[Node], held: list[tuple[JobSpec, str, tuple[Placement, ...]]]) -> Field:
    pool = field(*nodes)
    for job, engine, placements in held:
        pool.take(job, engine, placements)
    return pool


def test_a_policy_may_leave_cpus_out_of_account() -> None:
    shown = {}
    for wanted in (0.7, 0.0):
        worth = worth_of(MIX, ("h100",), Outlook(wanted=wanted))
        shown[wanted] = worth.of(np.array([4.0]), np.ones((1, 4), dtype=np.int64), np.full((1, 4), 1000))[0]
    assert shown[0.7] < shown[0.0] / 2


@settings(max_examples=50, deadline=None)
@given(free=st.lists(st.integers(0, 1000), min_size=4, max_size=4), cpus=st.floats(0, 200), more=st.floats(0, 50))
def test_more_room_is_never_worth_less(free: list[int], cpus: float, more: float) -> None:
    worth = worth_of(MIX, ("h100",))
    model = np.ones((1, 4), dtype=np.int64)
    here = worth.of(np.array([cpus]), model, np.array([free]))[0]
    assert 0 <= here <= sum(free)
    assert worth.of(np.array([cpus + more]), model, np.array([free]))[0] >= here - 1e-9


@settings(max_examples=30, deadline=None)
@given(pools())
def test_whether_it_fits_is_told_as_placing_it_would(snapshot: Snapshot) -> None:
    """While jobs end, on a copy as well: rows that have changed meanwhile are looked at one by one."""
    kept = field_of(snapshot.nodes, snapshot.active)
    for seen in (kept, kept.copy()):
        for gone in (None, *snapshot.active):
            if gone is not None:
                seen.give(gone.spec, gone.engine, gone.placements)
            for job in snapshot.pending:
                told = seen.fits(job.spec)
                rows = [seen.fits_at(row, job.spec) for row in range(len(snapshot.nodes))]
                assert told == bool(_unasked(seen).fit(job.spec)[1])
                assert rows == [node in _unasked(seen).fitting(job.spec) for node in seen.layout.nodes]


def _unasked(pool: Field) -> Field:
    """A field of the same room that has not looked at any job yet."""
    return Field(pool.layout, worth_of(usual_mix(), pool.layout.models), pool.room)
