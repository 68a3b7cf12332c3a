"""Expected speed: where a job may go to several models, its own loss counts like that of others."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from stoker.cluster import Device, Node
from stoker.control.speeds import speeds_of
from stoker.job import Job, JobKind, JobSpec, JobState, Resources
from stoker.schedule import Snapshot, decide
from stoker.schedule.field import Field
from stoker.schedule.layout import layout_of
from stoker.schedule.mix import Likely, Mix, usual_mix
from stoker.schedule.speed import Speed, Speeds
from stoker.schedule.worth import worth_of


def node(name: str, model: str, engine: str = "e") -> Node:
    return Node(name, engine, 96, 1 << 40, tuple(Device(index, model) for index in range(8)))


def job(models: Sequence[str], devices: int = 8, kind: JobKind = JobKind.TASK, nodes: int = 1) -> JobSpec:
    need = Resources(accelerators=devices, models=tuple(models))
    return JobSpec(command=("x",), resources=need, kind=kind, nodes=nodes)


def field(nodes: Sequence[Node], speeds: Speeds | None = None, mix: Mix | None = None) -> Field:
    layout = layout_of(nodes)
    pool = Field(layout, worth_of(mix or usual_mix(), layout.models))
    pool.expect(speeds_of(nodes) if speeds is None else speeds)
    return pool


def place(pool: Field, spec: JobSpec) -> list[str]:
    return [placed.node for placed in pool.fit(spec)[1]]


NODES = [node("slow", "H20"), node("fast", "H100")]


def test_training_goes_where_it_computes_faster_serving_where_memory_is_faster() -> None:
    pool = field(NODES)
    assert place(pool, job(["H20", "H100"])) == ["fast"]
    assert place(pool, job(["H20", "H100"], kind=JobKind.SERVICE)) == ["slow"]
    pool.take(job(["H100"]), "e", pool.fit(job(["H100"]))[1])
    assert place(pool, job(["H20", "H100"])) == ["slow"]  # a preference, never a reason to wait


def test_a_job_that_names_no_models_or_one_is_placed_as_before() -> None:
    pool, plain = field(NODES), field(NODES, {})
    for spec in (job([]), job(["H20"]), job([], 1)):
        assert place(pool, spec) == place(plain, spec)


@pytest.mark.parametrize(("gain", "goes"), [(1.05, "plenty"), (4.0, "wanted")])
def test_what_others_want_is_left_to_them_unless_much_is_gained(gain: float, goes: str) -> None:
    """Of a hundred jobs to come about four in ten times one wants a device, of one of the two models alone."""
    mix: Mix = (Likely(1, 1000, 1, ("wanted",), 0.005), Likely(1, 0, 0, (), 1.0))
    speeds = {"plenty": Speed(1.0, 1.0), "wanted": Speed(gain, gain)}
    mine = [node("wanted", "wanted"), node("plenty", "plenty")]
    light = JobSpec(command=("x",), resources=Resources(accelerators=1, models=("wanted", "plenty"), cpus=1))
    assert place(field(mine, speeds, mix), light) == [goes]


def test_a_speed_that_nobody_knows_is_compared_with_none() -> None:
    nodes = [node("a", "H20"), node("b", "X9000")]
    assert place(field(nodes), job(["H20", "X9000"])) == place(field(nodes, {}), job(["H20", "X9000"]))


def test_the_faster_model_wins_over_the_order_of_engines() -> None:
    pool = field([node("slow", "H20", "first"), node("fast", "H100", "second")])
    assert pool.fit(job(["H20", "H100"]))[0] == "second"
    assert pool.fit(job(["H20", "H100"], kind=JobKind.SERVICE))[0] == "first"


def test_a_gang_is_of_one_model_where_one_has_nodes_enough() -> None:
    nodes = [node("h1", "H100"), node("s1", "H20"), node("s2", "H20"), node("h2", "H100"), node("s3", "H20")]
    assert place(field(nodes), job(["H20", "H100"], nodes=2)) == ["h1", "h2"]
    assert place(field(nodes), job(["H20", "H100"], nodes=3)) == ["s1", "s2", "s3"]
    assert len(place(field(nodes), job(["H20", "H100"], nodes=5))) == 5


def test_a_slice_has_its_part_of_the_speed() -> None:
    sliced = Node("n", "e", 96, 1 << 40, (Device(100, "H100-1g.10gb"), Device(101, "H100-3g.40gb")))
    either = job(["mig-1g.10gb", "mig-3g.40gb"], 1)
    assert field([sliced]).fit(either)[1][0].devices == (101,)


def test_the_decision_knows_speeds_from_its_snapshot() -> None:
    waiting = Job(1, job(["H20", "H100"]), "t", "o", JobState.PENDING, 0.0)
    for speeds, goes in ((speeds_of(NODES), "fast"), ({}, "slow")):
        (start,) = decide(Snapshot(1.0, NODES, [waiting], [], speeds=speeds)).starts
        assert start.placements[0].node == goes
