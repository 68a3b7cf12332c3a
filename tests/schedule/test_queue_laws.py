"""Laws of queues, on any tree, any jobs and any moment."""

from __future__ import annotations

import dataclasses
from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.job import Job, JobSpec, JobState, Resources
from stoker.queue import Queue, accrued, average, decayed
from stoker.queue_window import Window
from stoker.schedule import Plan, Snapshot, decide, unfit
from stoker.schedule.policy import Policy, Preempt
from tests.schedule.stream import nodes_of

NOW = 1_000_000.0
LEAVES = ("a1", "a2", "b1", "default")
quota = st.integers(0, 6)
bound = st.one_of(st.none(), st.integers(0, 8))


@st.composite
def trees(draw: st.DrawFn) -> list[Queue]:
    """Two tenants, one with two teams, one with one."""
    teams = {name: draw(quota) for name in ("a1", "a2", "b1")}

    def queue(name: str, deserved: int, parent: str = "") -> Queue:
        ceiling = draw(bound)
        return Queue(
            name,
            parent=parent,
            deserved=deserved,
            ceiling=None if ceiling is None else max(ceiling, deserved),
            weight=draw(st.sampled_from([0.0, 1.0, 3.0])),
            user_devices=draw(st.sampled_from([None, None, 3.0])),
            user_jobs=draw(st.sampled_from([None, None, 2])),
            patience=draw(st.sampled_from([None, 0.0, 3600.0])),
            fair_users=draw(st.booleans()),
        )

    above = [queue("a", teams["a1"] + teams["a2"]), queue("b", teams["b1"])]
    return [*above, queue("a1", teams["a1"], "a"), queue("a2", teams["a2"], "a"), queue("b1", teams["b1"], "b")]


@st.composite
def jobs(draw: st.DrawFn, most_gpus: int = 3) -> list[Job]:
    found = []
    for number in range(1, draw(st.integers(1, 20)) + 1):
        spec = JobSpec(
            command=("x",),
            queue=draw(st.sampled_from(LEAVES)),
            priority=draw(st.sampled_from([10, 50])),
            resources=Resources(accelerators=draw(st.integers(0, most_gpus)), cpus=0),
        )
        came = NOW - draw(st.floats(0, 7200))
        found.append(Job(number, spec, "t", draw(st.sampled_from("xy")), JobState.PENDING, came))
    return found


def plan(queues: list[Queue], pending: list[Job], nodes: int = 2) -> Plan:
    policy = Policy(preempt=Preempt.NEVER)
    return decide(Snapshot(NOW, nodes_of(nodes, gpus=4), pending, [], queues=queues, policy=policy))


def started(result: Plan) -> dict[str, list[Job]]:
    """By queue, those above included."""
    above = {"a1": "a", "a2": "a", "b1": "b"}
    found: dict[str, list[Job]] = defaultdict(list)
    for start in result.starts:
        name = start.job.spec.queue
        found[name].append(start.job)
        found[above.get(name, "-")].append(start.job)
    return found


def devices(found: list[Job]) -> int:
    return sum(job.spec.resources.accelerators for job in found)


@settings(deadline=None, max_examples=150)
@given(trees(), jobs())
def test_no_ceiling_and_no_limit_is_ever_exceeded(queues: list[Queue], pending: list[Job]) -> None:
    result = plan(queues, pending)
    in_queue = started(result)
    for queue in queues:
        held = in_queue[queue.name]
        assert queue.ceiling is None or devices(held) <= queue.ceiling
        assert queue.weight or devices(held) <= queue.deserved
        for user in "xy":
            own = [job for job in held if job.owner == user]
            assert queue.user_devices is None or devices(own) <= queue.user_devices
            assert queue.user_jobs is None or len(own) <= queue.user_jobs
    assert {start.job.id for start in result.starts} | set(result.waits) == {job.id for job in pending}


@settings(deadline=None, max_examples=150)
@given(trees(), jobs(most_gpus=1))
def test_nobody_borrows_while_the_right_of_another_waits(queues: list[Queue], pending: list[Job]) -> None:
    """With jobs of one device, which fit wherever one is free: who waits for room could only borrow as well."""
    result = plan(queues, pending)
    in_queue = started(result)
    borrowed = any(devices(in_queue[queue.name]) > queue.deserved for queue in queues if not queue.parent)
    borrowed |= bool(devices(in_queue["default"]))
    by_name = {queue.name: queue for queue in queues}
    for job in pending:
        waits_for_room = job.id in result.waits and result.waits[job.id].reason in ("Resources", "Priority")
        if borrowed and waits_for_room and job.spec.queue != "default" and devices([job]):
            path = [by_name[job.spec.queue], by_name[by_name[job.spec.queue].parent]]
            assert any(devices(in_queue[queue.name]) + 1 > queue.deserved for queue in path)


@settings(deadline=None, max_examples=100)
@given(trees(), jobs(), st.randoms(use_true_random=False))
def test_the_same_snapshot_gives_the_same_plan_in_whatever_order_it_is_told(
    queues: list[Queue], pending: list[Job], chance: object
) -> None:
    shuffled_queues, shuffled = list(queues), list(pending)
    chance.shuffle(shuffled_queues)  # type: ignore[attr-defined]
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = plan(queues, pending), plan(shuffled_queues, shuffled)
    assert [(start.job.id, start.placements) for start in one.starts] == [
        (start.job.id, start.placements) for start in other.starts
    ]
    assert one.waits == other.waits


@settings(deadline=None, max_examples=100)
@given(trees(), st.one_of(jobs(), jobs(most_gpus=1)), st.integers(1, 3))
def test_more_capacity_makes_nothing_impossible(queues: list[Queue], pending: list[Job], more: int) -> None:
    small, large = plan(queues, pending), plan(queues, pending, nodes=2 + more)
    for job in pending:
        if not unfit(job.spec, nodes_of(2, gpus=4)):
            assert not unfit(job.spec, nodes_of(2 + more, gpus=4))
        if job.id in small.waits and small.waits[job.id].reason != "ReqNodeNotAvail":
            assert job.id not in large.waits or large.waits[job.id].reason != "ReqNodeNotAvail"
    if all(devices([job]) <= 1 for job in pending):  # larger ones may fit together in other ways
        assert devices([start.job for start in large.starts]) >= devices([start.job for start in small.starts])


@settings(deadline=None, max_examples=200)
@given(st.floats(0, 1e6), st.floats(60, 1e6), st.floats(0, 1e6), st.floats(0.001, 1e3))
def test_use_is_the_same_whether_it_is_counted_at_once_or_in_steps(
    first: float, half_life: float, second: float, held: float
) -> None:
    at_once = accrued(held, first + second, half_life)
    in_steps = decayed(accrued(held, first, half_life), second, half_life) + accrued(held, second, half_life)
    assert abs(at_once - in_steps) <= 1e-9 * max(1.0, at_once)
    assert average(at_once, half_life) <= held * (1 + 1e-12)


@settings(deadline=None, max_examples=200)
@given(
    st.floats(1.6e9, 1.9e9),
    st.sampled_from(["Mon-Fri 20:00-08:00", "Sat,Sun 00:00-24:00", "22:30-06:15", "Fri-Mon 12:00-11:59"]),
    st.sampled_from(["UTC", "Asia/Shanghai", "America/New_York", "Australia/Lord_Howe"]),
)  # fmt: skip
def test_a_window_holds_from_edge_to_edge(now: float, when: str, timezone: str) -> None:
    window = Window(when, deserved=1)
    edge = window.next_edge(now, timezone)
    assert now < edge <= now + 8 * 86400
    middle = [now + (edge - now) * share for share in (0.0, 0.25, 0.5, 0.999)]
    told = [window.holds(at, timezone) for at in middle]
    changed_clock = abs(edge - now) > 3600  # an hour told twice, or not at all, is a matter of the time zone
    assert len(set(told)) == 1 or changed_clock


def test_a_queue_without_jobs_changes_nothing() -> None:
    pending = [
        Job(number, JobSpec(command=("x",), resources=Resources(accelerators=1)), "t", "o", JobState.PENDING, NOW)
        for number in range(1, 12)
    ]
    with_queue = plan([Queue("idle", deserved=2)], pending)
    assert [start.job.id for start in with_queue.starts] == list(range(1, 9))
    assert plan([], pending).starts == with_queue.starts
    renamed = [dataclasses.replace(job, spec=dataclasses.replace(job.spec, queue="no-such")) for job in pending]
    assert len(plan([Queue("idle", deserved=2)], renamed).starts) == 8
