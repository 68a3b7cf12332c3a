"""The scheduling decision on snapshots."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.cluster import Device, Health, Node
from stoker.job import Condition, Dependency, Job, JobSpec, JobState, Placement, Resources
from stoker.schedule import Plan, Snapshot, decide

NOW = 1_000_000.0


def node(name: str = "n1", *, cpus: int = 8, gpus: int = 0, model: str = "H100", engine: str = "local") -> Node:
    return Node(name, engine, cpus, 64 << 30, tuple(Device(index, model) for index in range(gpus)))


def job(
    number: int, state: JobState = JobState.PENDING, placements: tuple[Placement, ...] = (), **fields: object
) -> Job:
    spec = JobSpec(command=("x",), **fields)  # type: ignore[arg-type]
    started = NOW - 10 if state is not JobState.PENDING else None
    return Job(number, spec, "t", "o", state, NOW - 100, started, placements=placements, engine="local")


def need(**fields: object) -> Resources:
    return Resources(**fields)  # type: ignore[arg-type]


def running(number: int, placement: Placement, **fields: object) -> Job:
    return job(number, JobState.RUNNING, (placement,), **fields)


def plan(nodes: list[Node], pending: list[Job], active: list[Job] | None = None, **fields: object) -> Plan:
    return decide(Snapshot(NOW, nodes, pending, active or [], **fields))  # type: ignore[arg-type]


def started(result: Plan) -> list[int]:
    return [start.job.id for start in result.starts]


def test_first_come_first_served() -> None:
    result = plan([node(cpus=2)], [job(2), job(1), job(3)])
    assert started(result) == [1, 2]
    assert result.waits[3].reason == "Resources"


def test_priority_goes_first() -> None:
    assert started(plan([node(cpus=1)], [job(1), job(2, priority=90)])) == [2]


def test_those_behind_are_told_how_many_are_ahead() -> None:
    result = plan([node(cpus=1)], [job(number) for number in range(1, 5)])
    assert [result.waits[number].reason for number in (2, 3, 4)] == ["Resources", "Priority", "Priority"]
    assert result.waits[4].message == "2 jobs ahead"


def test_devices_are_never_given_twice() -> None:
    result = plan([node(gpus=4)], [job(number, resources=need(accelerators=2)) for number in (1, 2, 3)])
    assert [start.placements[0].devices for start in result.starts] == [(0, 1), (2, 3)]


def test_shares_fill_a_device_before_they_open_another() -> None:
    share = need(accelerators=1, milli=400)
    result = plan([node(gpus=2)], [job(number, resources=share) for number in (1, 2, 3, 4, 5)])
    assert [start.placements[0].devices for start in result.starts] == [(0,), (0,), (1,), (1,)]


def test_a_whole_device_is_not_taken_from_sharers() -> None:
    active = [running(1, Placement("n1", (0,)), resources=need(accelerators=1, milli=100))]
    result = plan([node(gpus=2)], [job(2, resources=need(accelerators=1))], active)
    assert result.starts[0].placements[0].devices == (1,)


def test_models_are_respected_and_not_mixed() -> None:
    mixed = Node(
        "n1", "local", 8, 1 << 30, (Device(0, "H100"), Device(1, "T4"), Device(2, "H100"), Device(3, "T4"))
    )
    wanted = job(1, resources=need(accelerators=2, models=("t4",)))
    assert plan([mixed], [wanted]).starts[0].placements[0].devices == (1, 3)
    assert plan([mixed], [job(1, resources=need(accelerators=3))]).starts == []


def test_failed_devices_and_drained_nodes_are_left_out() -> None:
    broken = Node("n1", "local", 8, 1 << 30, (Device(0, "H100", health=Health.FAILED), Device(1, "H100")))
    assert plan([broken], [job(1, resources=need(accelerators=1))]).starts[0].placements[0].devices == (1,)
    assert plan([dataclasses.replace(node(), schedulable=False)], [job(1)]).starts == []


def test_a_gang_gets_all_its_nodes_of_one_engine_or_none() -> None:
    nodes = [node("a"), node("b", engine="slurm"), node("c")]
    result = plan(nodes, [job(1, nodes=2)])
    assert [placement.node for placement in result.starts[0].placements] == ["a", "c"]
    assert plan(nodes, [job(1, nodes=3)]).starts == []


def test_small_jobs_fill_what_the_first_leaves_over() -> None:
    active = [running(1, Placement("n1"), resources=need(cpus=6))]
    pending = [job(2, resources=need(cpus=6)), job(3, resources=need(cpus=2))]
    assert started(plan([node()], pending, active)) == [3]


def test_small_jobs_do_not_delay_the_first() -> None:
    active = [running(1, Placement("n1"), resources=need(cpus=6))]
    pending = [job(2, resources=need(cpus=8)), job(3, resources=need(cpus=2))]
    assert started(plan([node()], pending, active)) == []


@pytest.mark.parametrize(("limit", "starts"), [(50.0, [3]), (1000.0, []), (5000.0, [])])
def test_a_short_job_runs_before_the_reservation(limit: float, starts: list[int]) -> None:
    active = [running(1, Placement("n1"), resources=need(cpus=6), time_limit=1000.0)]
    pending = [job(2, resources=need(cpus=8)), job(3, resources=need(cpus=2), time_limit=limit)]
    assert started(plan([node()], pending, active)) == starts


def test_what_cannot_run_at_present_does_not_hold_up_others() -> None:
    result = plan([node(gpus=1)], [job(1, resources=need(accelerators=2)), job(2)])
    assert started(result) == [2]
    assert result.waits[1].reason == "ReqNodeNotAvail"


def test_an_engine_that_is_away_is_named_and_the_others_go_on() -> None:
    nodes = [node("a", engine="slurm"), node("b")]
    result = plan(nodes, [job(1, engine="slurm"), job(2)], away={"slurm": "slurmctld does not answer"})
    assert started(result) == [2]
    assert (result.waits[1].reason, result.waits[1].message) == ("EngineAway", "slurmctld does not answer")


def test_array_limit() -> None:
    active = [dataclasses.replace(running(1, Placement("n1"), array_limit=2), array_id=1, array_index=0)]
    pending = [dataclasses.replace(job(n, array_limit=2), array_id=1, array_index=n) for n in (2, 3)]
    result = plan([node()], pending, active)
    assert started(result) == [2]
    assert result.waits[3].reason == "ArrayTaskLimit"


def test_backoff_wakes_the_loop_when_it_is_over() -> None:
    waiting = dataclasses.replace(job(1), not_before=NOW + 30, failures=1)
    result = plan([node()], [waiting])
    assert (result.waits[1].reason, result.wake_at) == ("BeginTime", NOW + 30)
    assert started(plan([node()], [dataclasses.replace(waiting, not_before=NOW)])) == [1]


STATES = {
    "pending": JobState.PENDING, "running": JobState.RUNNING, "ok": JobState.SUCCEEDED,
    "failed": JobState.FAILED, "cancelled": JobState.CANCELLED,
}  # fmt: skip


@pytest.mark.parametrize(
    ("condition", "states", "answer"),
    [
        ("after", "pending", "wait"), ("after", "running", "go"), ("after", "failed", "go"),
        ("afterany", "running", "wait"), ("afterany", "failed", "go"), ("afterany", "ok failed", "go"),
        ("afterany", "ok running", "wait"), ("afterok", "running", "wait"), ("afterok", "ok", "go"),
        ("afterok", "failed", "never"), ("afterok", "cancelled", "never"), ("afterok", "ok failed", "never"),
        ("afterok", "ok running", "wait"), ("afternotok", "failed", "go"), ("afternotok", "ok", "never"),
        ("afternotok", "running", "wait"), ("afterok", "", "never"),
    ],
)  # fmt: skip
def test_dependencies(condition: str, states: str, answer: str) -> None:
    depended = {7: tuple(STATES[name] for name in states.split())}
    result = plan([node()], [job(8, depends=(Dependency(7, Condition(condition)),))], depended=depended)
    assert started(result) == ([8] if answer == "go" else [])
    assert (8 in result.fails) == (answer == "never")
    assert (8 in result.waits) == (answer == "wait")
    if answer != "go":
        why = {**result.fails, **result.waits}[8]
        assert why.reason == ("Dependency" if answer == "wait" else "DependencyNeverSatisfied")


specs = st.builds(
    lambda cpus, gpus, milli, memory, limit, priority: JobSpec(
        command=("x",),
        resources=Resources(accelerators=gpus, milli=milli, cpus=cpus, memory=memory << 30),
        time_limit=limit,
        priority=priority,
    ),
    st.integers(0, 9), st.integers(0, 3), st.sampled_from([1000, 500, 300]), st.integers(0, 70),
    st.sampled_from([None, 10.0, 1000.0]), st.integers(0, 100),
)  # fmt: skip


def held_by(result: Plan, active: list[Job]) -> list[tuple[Resources, Placement]]:
    return [
        *((each.spec.resources, place) for each in active for place in each.placements),
        *((start.job.spec.resources, place) for start in result.starts for place in start.placements),
    ]


@settings(deadline=None, max_examples=150)
@given(st.lists(specs, max_size=12))
def test_no_node_ever_gives_more_than_it_has(pending: list[JobSpec]) -> None:
    nodes = [node("a", gpus=2), node("b", cpus=4)]
    jobs = [dataclasses.replace(job(number), spec=spec) for number, spec in enumerate(pending, start=1)]
    result = plan(nodes, jobs)
    for each in nodes:
        held = [(resources, place) for resources, place in held_by(result, []) if place.node == each.name]
        assert sum(resources.cpus for resources, _ in held) <= each.cpus
        assert sum(resources.memory for resources, _ in held) <= each.memory
        for device in each.devices:
            assert sum(resources.milli for resources, place in held if device.index in place.devices) <= 1000
    assert {start.job.id for start in result.starts} | set(result.waits) == {each.id for each in jobs}
    assert all(wait.reason and wait.message for wait in result.waits.values())


@settings(deadline=None, max_examples=60)
@given(st.lists(specs, min_size=1, max_size=10))
def test_the_first_in_line_is_never_starved(stream: list[JobSpec]) -> None:
    """A job that needs the whole node starts as soon as what ran when it became first has ended, come what may."""
    big = job(1, resources=need(cpus=8), priority=100)
    active = [running(0, Placement("n1"), resources=need(cpus=4), time_limit=100.0)]
    numbers = itertools.count(2)
    now, backlog = NOW, [dataclasses.replace(spec, priority=50) for spec in stream]
    for _ in range(30):
        pending = [big, *(dataclasses.replace(job(next(numbers)), spec=spec) for spec in backlog)]
        result = decide(Snapshot(now, [node()], pending, active))
        if 1 in started(result):
            assert now <= NOW + 100 + 30  # its time limit and its grace
            return
        active += [
            dataclasses.replace(start.job, state=JobState.RUNNING, started_at=now, placements=start.placements)
            for start in result.starts
        ]
        now += 10
        active = [each for each in active if not _over(each, now)]
    raise AssertionError("the big job never started")


def _over(each: Job, now: float) -> bool:
    """The stream's jobs end at their limit, those without one never."""
    return each.started_at is not None and now >= each.started_at + (each.spec.time_limit or float("inf"))


def test_the_plan_says_what_is_kept_for_the_first_that_waits() -> None:
    active = [running(1, Placement("n1"), resources=need(cpus=6), time_limit=1000.0)]
    result = plan([node()], [job(2, resources=need(cpus=8)), job(3, resources=need(cpus=8))], active)
    kept = result.reserved[2]
    assert (kept.at, kept.engine, kept.placements) == (NOW - 10 + 1000 + 30, "local", (Placement("n1"),))
    assert 3 not in result.reserved
