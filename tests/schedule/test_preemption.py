"""Who is displaced for whom: as few and as cheap as can be, never upward, and only for a whole gang."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.cluster import Device, Node
from stoker.job import Job, JobSpec, JobState, Placement, Resources
from stoker.queue import Queue
from stoker.schedule import Plan, Policy, Snapshot, decide
from stoker.schedule.policy import Backfill, Order
from stoker.schedule.policy import Preempt as Whom
from stoker.schedule.pool import field_of
from stoker.schedule.victims import loses, lost
from stoker.topology import ANYWHERE, Level, Topology
from tests.schedule.test_domains import obeys

NOW = 1_000_000.0
AT_ONCE = Policy(min_runtime=0.0)


def node(name: str, gpus: int = 8, engine: str = "e") -> Node:
    return Node(name, engine, 64, 1 << 40, tuple(Device(index, "H100") for index in range(gpus)))


def spec(gpus: int, **fields: object) -> JobSpec:
    return JobSpec(command=("x",), resources=Resources(accelerators=gpus), **fields)  # type: ignore[arg-type]


def waiting(number: int, gpus: int, **fields: object) -> Job:
    return Job(number, spec(gpus, **fields), "t", "o", JobState.PENDING, NOW - 100)


def running(number: int, *where: tuple[str, int, int], age: float = 1000.0, **fields: object) -> Job:
    """`where`: node, first device and how many on each of its nodes."""
    placed = tuple(Placement(name, tuple(range(first, first + count))) for name, first, count in where)
    wanted = spec(where[0][2], **{"priority": 20, "preemptible": True, "nodes": len(where), **fields})
    job = Job(number, wanted, "t", "o", JobState.RUNNING, NOW - age, NOW - age, placements=placed, engine="e")
    return dataclasses.replace(job, attempt=1)


def plan(nodes: list[Node], pending: list[Job], active: list[Job], policy: Policy = AT_ONCE) -> Plan:
    return decide(Snapshot(NOW, nodes, pending, active, policy=policy))


def victims(result: Plan) -> dict[int, list[int]]:
    return {one.job.id: sorted(victim.id for victim in one.victims) for one in result.preempts}


def test_a_lower_priority_gives_way() -> None:
    result = plan([node("a")], [waiting(1, 8)], [running(2, ("a", 0, 8))])
    assert victims(result) == {1: [2]}
    assert result.starts == []
    assert result.waits[1].message == "its room is being made: waits for job 2 to end"


def test_nobody_gives_way_to_an_equal_or_lower_one_or_against_his_will() -> None:
    for held in (running(2, ("a", 0, 8), priority=50), running(2, ("a", 0, 8), preemptible=False)):
        assert victims(plan([node("a")], [waiting(1, 8)], [held])) == {}


def test_nobody_is_ended_where_the_gang_would_not_get_in() -> None:
    """One node could be had, and both are needed: the other one runs something more important."""
    active = [running(2, ("a", 0, 8)), running(3, ("b", 0, 1), priority=90)]
    assert victims(plan([node("a"), node("b")], [waiting(1, 8, nodes=2)], active)) == {}
    assert victims(plan([node("a"), node("b")], [waiting(1, 7, nodes=2)], active)) == {1: [2]}


def test_jobs_that_are_alike_share_what_a_large_victim_frees() -> None:
    """A gang on two nodes costs a little less than a job on each of two others, and one of these less than it."""
    nodes = [node(name) for name in "abcd"]
    active = [
        running(10, ("a", 0, 8), ("b", 0, 8), age=900.0),
        running(11, ("c", 0, 8), age=1000.0),
        running(12, ("d", 0, 8), age=1100.0),
    ]
    alike = [waiting(number, 8) for number in (1, 2, 3)]
    assert victims(plan(nodes, alike[:1], active)) == {1: [11]}
    two = plan(nodes, alike[:2], active)
    assert victims(two) == {1: [10]}
    assert [two.waits[number].message for number in (1, 2)] == [
        "its room is being made: waits for job 10 to end"
    ] * 2
    assert victims(plan(nodes, alike, active)) == {1: [10], 3: [11]}, "the third is not made to wait for the gang"
    others = [alike[0], waiting(2, 4)]
    assert victims(plan(nodes, others, active))[1] == [11], "another kind of job shares nothing"
    free = [*nodes, node("e")]
    result = plan(free, alike[:2], active)
    assert [start.job.id for start in result.starts] == [1]
    assert victims(result) == {2: [11]}, "who starts without it shares nothing"


def test_a_job_that_began_again_saves_itself_as_much_later_as_that_took() -> None:
    policy = Policy(restart=60.0)
    first = running(1, ("a", 0, 8), age=3630.0, checkpoint_every=1800.0)
    assert lost(first, NOW, policy) == 8 * (30.0 + 60.0)
    again = dataclasses.replace(first, attempt=2)
    assert lost(again, NOW, policy) == 8 * (1770.0 + 60.0)


def test_what_fits_without_is_not_made_room_for() -> None:
    assert victims(plan([node("a"), node("b")], [waiting(1, 8)], [running(2, ("a", 0, 8))])) == {}


def test_the_cheapest_goes_who_lost_least_since_it_saved_itself() -> None:
    old = running(2, ("a", 0, 8), age=90_000.0)
    saved = dataclasses.replace(running(3, ("b", 0, 8), age=90_000.0), checkpointed_at=NOW - 10)
    young = running(4, ("c", 0, 8), age=500.0)
    warned = running(5, ("d", 0, 8), age=90_000.0, checkpoint_signal="USR1", checkpoint_lead=5.0)
    every = running(6, ("e", 0, 8), age=90_002.0, checkpoint_every=100.0)
    nodes = [node(name) for name in "abcde"]
    order = []
    active = [old, saved, young, warned, every]
    while active:
        (gone,) = victims(plan(nodes[: len(nodes)], [waiting(1, 8)], active))[1]
        order.append(gone)
        nodes = [
            one for one in nodes if one.name != next(job for job in active if job.id == gone).placements[0].node
        ]
        active = [job for job in active if job.id != gone]
    assert order == [6, 5, 3, 4, 2]


def test_where_the_policy_has_an_order_who_is_last_in_it_goes() -> None:
    """The one that lost least would come back at once, as it is first in the order."""
    short = running(2, ("a", 0, 8), age=5001.0, time_limit=6000.0, checkpoint_every=100.0)
    long = running(3, ("b", 0, 8), age=5002.0, time_limit=90_000.0, checkpoint_every=100.0)
    nodes, high = [node("a"), node("b")], waiting(1, 8)
    assert victims(plan(nodes, [high], [short, long])) == {1: [2]}
    by_limit = dataclasses.replace(AT_ONCE, order=Order.SHORTEST)
    assert victims(plan(nodes, [high], [short, long], by_limit)) == {1: [3]}


def test_a_job_on_many_devices_is_dearer_than_two_small_ones() -> None:
    large = running(2, *((name, 0, 8) for name in "bcde"))
    small = [running(3, ("a", 0, 4)), running(4, ("a", 4, 4))]
    nodes = [node(name) for name in "abcde"]
    assert victims(plan(nodes, [waiting(1, 8)], [large, *small])) == {1: [3, 4]}


def test_a_gang_takes_the_job_that_frees_both_its_nodes() -> None:
    gang = running(2, ("a", 0, 8), ("b", 0, 8))
    singles = [running(3, ("c", 0, 8)), running(4, ("d", 0, 8))]
    nodes = [node(name) for name in "abcd"]
    assert victims(plan(nodes, [waiting(1, 8, nodes=2)], [gang, *singles]))[1] in ([2], [3, 4])
    assert len(victims(plan(nodes, [waiting(1, 8, nodes=3)], [gang, *singles]))[1]) == 2


def test_those_not_needed_stay() -> None:
    active = [running(2, ("a", 0, 1)), running(3, ("a", 1, 6)), running(4, ("a", 7, 1))]
    assert victims(plan([node("a")], [waiting(1, 6)], active)) == {1: [3]}
    assert victims(plan([node("a")], [waiting(1, 2)], active)) == {1: [2, 4]}


def test_a_job_that_has_just_begun_is_left_alone_for_a_while() -> None:
    held = running(2, ("a", 0, 8), age=30.0)
    result = plan([node("a")], [waiting(1, 8)], [held], Policy(min_runtime=60.0))
    assert (victims(result), result.wake_at) == ({}, NOW + 30.0)
    own = dataclasses.replace(held, spec=dataclasses.replace(held.spec, min_runtime=0.0))
    assert victims(plan([node("a")], [waiting(1, 8)], [own], Policy(min_runtime=60.0))) == {1: [2]}


def test_an_equal_is_ended_for_one_that_needs_half_of_its_time_and_not_for_one_that_needs_little_less() -> None:
    policy = dataclasses.replace(AT_ONCE, order=Order.SHORTEST, preempt=Whom.EQUALS, turn=100.0)
    held = running(2, ("a", 0, 8), age=1000.0, time_limit=5000.0, priority=50)  # 4,000 s are left
    for limit, gone in ((3900.0, {}), (2000.0, {1: [2]})):
        job = waiting(1, 8, priority=50, time_limit=limit)
        assert victims(plan([node("a")], [job], [held], policy)) == gone


@pytest.mark.parametrize(("had", "gone"), [(0.0, {1: [2]}), (700.0, {1: [2]}), (1100.0, {})])
def test_each_turn_is_as_long_as_those_before_it(had: float, gone: dict[int, list[int]]) -> None:
    """It has run for 1,000 s this time, and for `had` before."""
    policy = dataclasses.replace(AT_ONCE, order=Order.SHORTEST, preempt=Whom.EQUALS, turn=100.0)
    held = running(2, ("a", 0, 8), age=1000.0, priority=50)
    job = waiting(1, 8, priority=50, time_limit=60.0)
    result = decide(Snapshot(NOW, [node("a")], [job], [held], policy=policy, served={2: had}))
    assert victims(result) == gone
    assert result.wake_at == (None if gone else NOW + had - 1000.0)


@pytest.mark.parametrize(("priority", "after"), [(60, 60.0), (50, 500.0)])
def test_one_that_starts_is_looked_at_again_once_it_may_be_displaced(priority: int, after: float) -> None:
    policy = Policy(
        order=Order.LEAST_SERVICE, backfill=Backfill.GREEDY, preempt=Whom.EQUALS, turn=500.0, min_runtime=60.0
    )
    starts = dataclasses.replace(waiting(2, 8, priority=50), spec=running(2, ("a", 0, 8), priority=50).spec)
    too_large = waiting(3, 8, priority=priority, nodes=2)
    held = running(4, ("b", 0, 8), preemptible=False)
    result = plan([node("a"), node("b")], [starts, too_large], [held], policy)
    assert ([start.job.id for start in result.starts], result.wake_at) == ([2], NOW + after)


def test_an_administrator_may_forbid_it() -> None:
    never = Policy(min_runtime=0.0, preempt=Whom.NEVER)
    assert victims(plan([node("a")], [waiting(1, 8)], [running(2, ("a", 0, 8))], never)) == {}


def stopping(job: Job, for_whom: int | None) -> Job:
    return dataclasses.replace(job, state=JobState.STOPPING, reason="Preempted", gives_way_to=for_whom)


def requeued(job: Job) -> Job:
    return dataclasses.replace(job, state=JobState.PENDING, placements=(), started_at=None)


def test_who_has_waited_too_long_gets_the_room_made_for_him_before_a_higher_priority() -> None:
    """Both have room made for them; the victim of job 30 is the first to be gone."""
    queue = (Queue("q", patience=100.0),)
    overdue = dataclasses.replace(queued(waiting(30, 8, priority=60), "q"), submitted_at=NOW - 1000)
    urgent = dataclasses.replace(queued(waiting(31, 8, priority=90), "q"), submitted_at=NOW - 10)
    first, second = (queued(running(at, (name, 0, 8)), "q") for at, name in ((1, "a"), (2, "b")))
    nodes = [node("a"), node("b")]
    snapshot = Snapshot(NOW, nodes, [overdue, urgent], [first, second], policy=AT_ONCE, queues=queue)
    assert victims(decide(snapshot)) == {30: [1], 31: [2]}
    gone = [overdue, urgent, requeued(stopping(first, 30))]
    later = dataclasses.replace(snapshot, now=NOW + 1, pending=gone, active=[stopping(second, 31)])
    assert [start.job.id for start in decide(later).starts] == [30]
    calm = dataclasses.replace(later, queues=(Queue("q", patience=None),))
    assert [start.job.id for start in decide(calm).starts] == [31]


def test_room_that_is_being_made_pushes_nobody_back_who_has_waited_too_long() -> None:
    """Two devices of `b` are free, and are among the three for which job 30 has waited too long."""
    queue = (Queue("q", patience=100.0),)
    overdue = dataclasses.replace(queued(waiting(30, 3, priority=10), "q"), submitted_at=NOW - 1000)
    urgent = dataclasses.replace(queued(waiting(31, 2, priority=80), "q"), submitted_at=NOW - 10)
    holds = queued(running(1, ("a", 0, 1), ("b", 0, 1), priority=10, time_limit=9000.0), "q")
    snapshot = Snapshot(NOW, [node("a", 2), node("b", 3)], [overdue, urgent], [holds], policy=AT_ONCE, queues=queue)
    result = decide(snapshot)
    assert victims(result) == {31: [1]}
    assert result.reserved[30].placements[0].node == "b"
    going = decide(dataclasses.replace(snapshot, now=NOW + 1, active=[stopping(holds, 31)]))
    assert not going.starts
    gone = dataclasses.replace(snapshot, now=NOW + 30, pending=[overdue, urgent, requeued(stopping(holds, 31))])
    starts = decide(dataclasses.replace(gone, active=[])).starts
    assert {start.job.id: start.placements[0].node for start in starts} == {30: "b", 31: "a"}


def test_while_they_end_nobody_else_gets_what_is_free_already() -> None:
    """Half of the gang's room is free, and a small job would fit into it."""
    going = stopping(running(2, ("a", 0, 8)), 1)
    pending = [waiting(1, 8, nodes=2), waiting(5, 1, priority=10, time_limit=1.0)]
    result = plan([node("a"), node("b")], pending, [going])
    assert (victims(result), result.starts) == ({}, [])


def test_nobody_who_comes_later_takes_it_not_even_one_of_higher_priority() -> None:
    going = stopping(running(2, ("a", 0, 8)), 1)
    result = plan([node("a")], [waiting(1, 8), waiting(5, 8, priority=90)], [going])
    assert (victims(result), result.starts) == ({}, [])
    gone = requeued(going)
    result = plan([node("a")], [waiting(1, 8), waiting(5, 8, priority=90), gone], [])
    assert [start.job.id for start in result.starts] == [1]


def test_when_the_one_they_went_for_is_gone_the_room_is_everybodys() -> None:
    going = stopping(running(2, ("a", 0, 8)), 1)
    result = plan([node("a"), node("b", 1)], [waiting(5, 1, priority=10)], [going])
    assert [start.job.id for start in result.starts] == [5]


def test_no_more_are_ended_than_it_takes_while_the_first_still_end() -> None:
    going = stopping(running(2, ("a", 0, 8)), None)
    result = plan([node("a"), node("b")], [waiting(1, 8)], [going, running(3, ("b", 0, 8))])
    assert victims(result) == {}


def test_behind_one_that_waits_long_room_is_made_only_where_that_does_not_matter() -> None:
    """The first waits for an H100 node that is not to be had; the second may have the T4 that is lent out."""
    t4 = Node("t", "e", 8, 1 << 40, (Device(0, "T4"),))
    held = [running(2, ("a", 0, 8), priority=90), running(3, ("t", 0, 1))]
    first = waiting(1, 8, priority=80)
    second = Job(4, dataclasses.replace(spec(1, priority=80)), "t", "o", JobState.PENDING, NOW)
    second = dataclasses.replace(second, spec=dataclasses.replace(second.spec, resources=Resources(1, ("T4",))))
    assert victims(plan([node("a"), t4], [first, second], held)) == {4: [3]}
    third = waiting(5, 1, priority=80)
    lent = [running(2, ("a", 0, 7), priority=90), running(6, ("a", 7, 1))]
    assert victims(plan([node("a")], [first, third], lent)) == {}


# queues and quotas


def queued(job: Job, queue: str) -> Job:
    return dataclasses.replace(job, spec=dataclasses.replace(job.spec, queue=queue))


def with_queues(pending: list[Job], active: list[Job], *queues: Queue) -> Plan:
    return decide(Snapshot(NOW, [node("a")], pending, active, policy=AT_ONCE, queues=queues))


def test_what_a_queue_borrowed_is_taken_back_whatever_the_priority() -> None:
    active = [queued(running(2, ("a", 0, 4), priority=90), "b"), queued(running(3, ("a", 4, 4), priority=90), "b")]
    pending = [queued(waiting(1, 4), "a"), queued(waiting(4, 4), "a")]
    halves = (Queue("a", deserved=4), Queue("b", deserved=4))
    assert victims(with_queues(pending, active, *halves)) == {1: [3]}
    thirds = (Queue("a", deserved=4), Queue("b", deserved=8))
    assert victims(with_queues(pending, active, *thirds)) == {}


def test_a_higher_priority_of_a_queue_at_its_ceiling_takes_the_place_of_a_lower_one() -> None:
    active = [queued(running(2, ("a", 0, 4)), "a")]
    full = Queue("a", deserved=4, ceiling=4)
    result = with_queues([queued(waiting(1, 4), "a")], active, full)
    assert victims(result) == {1: [2]}
    result = with_queues([queued(waiting(1, 6), "a")], active, full)
    assert (victims(result), result.waits[1].reason) == ({}, "AssocGrpGRES")


# the laws


_LEAVES = st.sampled_from([{}, {}, {Level.LEAF: "s1"}, {Level.LEAF: "s2"}])
_WISHES = st.sampled_from([ANYWHERE, ANYWHERE, Topology(required=Level.LEAF), Topology(preferred=Level.LEAF)])
_STATES = [JobState.RUNNING] * 5 + [JobState.STARTING, JobState.STOPPING]


@st.composite
def pools(draw: st.DrawFn) -> Snapshot:
    """Up to four nodes, mostly full of running jobs, and jobs that wait."""
    nodes = [
        dataclasses.replace(node(f"n{at}", draw(st.integers(1, 4))), domains=draw(_LEAVES))
        for at in range(draw(st.integers(1, 4)))
    ]
    field = field_of(nodes, ())
    active = []
    for number, wanted in enumerate(draw(st.lists(_specs((10, 50)), min_size=2, max_size=10)), 1):
        engine, placements = field.fit(wanted)
        if placements:
            field.take(wanted, engine, placements)
            active.append(_active(draw, number, wanted, engine, placements))
    specs = draw(st.lists(_specs((10, 50, 80, 80)), min_size=1, max_size=6))
    pending = [Job(number, wanted, "t", "o", JobState.PENDING, NOW) for number, wanted in enumerate(specs, 20)]
    return Snapshot(NOW, nodes, pending, active, policy=Policy(min_runtime=60.0))


def _active(draw: st.DrawFn, number: int, wanted: JobSpec, engine: str, placements: tuple[Placement, ...]) -> Job:
    state = draw(st.sampled_from(_STATES))
    age = draw(st.sampled_from([1000.0, 1000.0, 5000.0, 30.0]))
    began = None if state is JobState.STARTING else NOW - age
    for_whom = draw(st.none() | st.integers(20, 25)) if state is JobState.STOPPING else None
    job = Job(number, wanted, "t", "o", state, NOW - age, began, None, 1, engine, placements)
    return dataclasses.replace(job, gives_way_to=for_whom)


def _specs(priorities: tuple[int, ...]) -> st.SearchStrategy[JobSpec]:
    return st.builds(
        lambda gpus, milli, nodes, priority, preemptible, limit, topology: JobSpec(
            command=("x",),
            resources=Resources(gpus, milli=milli if gpus == 1 else 1000),
            nodes=nodes,
            priority=priority,
            preemptible=preemptible,
            time_limit=limit,
            topology=topology,
        ),
        st.sampled_from([1, 1, 2, 3, 4, 0]),
        st.sampled_from([300, 1000]),
        st.sampled_from([1, 1, 2, 3]),
        st.sampled_from(priorities),
        st.sampled_from([True, True, True, False]),
        st.none() | st.sampled_from([10.0, 9000.0]),
        _WISHES,
    )


def _overbooked(snapshot: Snapshot, active: list[Job]) -> bool:
    field = field_of(snapshot.nodes, active)
    free = field.free[field.layout.model > 0]
    return bool((free < 0).any() or (field.cpus < 0).any())


@given(pools())
@settings(deadline=None)
def test_laws(snapshot: Snapshot) -> None:
    result = decide(snapshot)
    again = decide(snapshot)
    assert (result.starts, result.preempts, result.waits) == (again.starts, again.preempts, again.waits)
    started = [
        dataclasses.replace(start.job, state=JobState.STARTING, engine=start.engine, placements=start.placements)
        for start in result.starts
    ]
    assert not _overbooked(snapshot, [*snapshot.active, *started])
    assert all(len(start.placements) == start.job.spec.nodes for start in result.starts)
    ended = [victim for one in result.preempts for victim in one.victims]
    assert len({victim.id for victim in ended}) == len(ended)
    for one in result.preempts:
        assert one.victims
        assert all(victim.spec.preemptible for victim in one.victims)
        assert all(victim.spec.priority < one.job.spec.priority for victim in one.victims)
        assert all(victim.started_at is not None and NOW - victim.started_at >= 60.0 for victim in one.victims)
    _check_admitted(snapshot, result, started)


def _check_admitted(snapshot: Snapshot, result: Plan, started: list[Job]) -> None:
    """When everything that is being ended is gone, all for whom somebody went get in, as a whole and together."""
    ended = {victim.id for one in result.preempts for victim in one.victims}
    left = [job for job in snapshot.active if job.id not in ended and job.state is not JobState.STOPPING]
    admitted = [
        dataclasses.replace(one.job, state=JobState.STARTING, engine=one.engine, placements=one.placements)
        for one in result.preempts
    ]
    assert all(len(job.placements) == job.spec.nodes for job in admitted)
    by_name = {one.name: one for one in snapshot.nodes}
    assert all(obeys(job.placements, job.spec, by_name) for job in (*admitted, *started))
    assert not _overbooked(snapshot, [*left, *started, *admitted])


@given(pools())
@settings(deadline=None)
def test_nobody_is_ended_who_need_not_be(snapshot: Snapshot) -> None:
    """Had one of them stayed, it would not get in. What is kept for jobs before it is left out of this."""
    settled = all(job.state is not JobState.STOPPING for job in snapshot.active)
    result = decide(snapshot)
    for one in result.preempts[:1] if settled and not (result.starts or result.reserved) else ():
        for spared in one.victims:
            still = [job for job in snapshot.active if job is spared or job not in one.victims]
            assert not field_of(snapshot.nodes, still).fit(one.job.spec)[1]


@given(pools())
@settings(deadline=None, max_examples=50)
def test_it_comes_to_rest(snapshot: Snapshot) -> None:
    """Played on, with nothing ending by itself, the pool stops changing: nobody displaces each other for ever."""
    pending = {job.id: job for job in snapshot.pending}
    active = {job.id: job for job in snapshot.active}
    now, ends = snapshot.now, 0
    for _ in itertools.repeat(None, 200):
        now += 100.0
        for job in [job for job in active.values() if job.state is JobState.STOPPING]:
            del active[job.id]
            pending[job.id] = requeued(job)
        seen = dataclasses.replace(snapshot, now=now, pending=list(pending.values()), active=list(active.values()))
        result = decide(seen)
        if not result.starts and not result.preempts:
            break
        for start in result.starts:
            del pending[start.job.id]
            active[start.job.id] = dataclasses.replace(
                start.job, state=JobState.RUNNING, started_at=now, engine=start.engine,
                placements=start.placements, gives_way_to=None,
            )  # fmt: skip
        for one in result.preempts:
            ends += len(one.victims)
            for victim in one.victims:
                active[victim.id] = stopping(victim, one.job.id)
    else:
        raise AssertionError(f"after {ends} preemptions it still goes on")


def test_what_is_lost_is_said_with_what_that_rests_on() -> None:
    silent = running(1, ("a", 0, 8), age=7200.0)
    saved = dataclasses.replace(silent, checkpointed_at=NOW - 240)
    signal = running(1, ("a", 0, 8), age=7200.0, checkpoint_signal="USR1")
    every = running(1, ("a", 0, 8), age=7205.0, checkpoint_every=600.0)
    assert [loses(one, NOW, AT_ONCE) for one in (silent, saved, signal, every)] == [
        "loses 2 h of work: nothing tells of a checkpoint",
        "loses 4 min of work, since it last saved itself",
        "loses nothing: it is told to save itself",
        "loses 5 s of work, if it saves itself every 10 min",
    ]


def test_work_lost_is_counted_in_device_seconds() -> None:
    assert lost(running(1, ("a", 0, 4), age=90_000.0), NOW, Policy()) == 4 * (90_000.0 + 60.0)
    policy = Policy(restart=60.0, checkpoint_every=1800.0)
    assert lost(running(1, ("a", 0, 4), ("b", 0, 4), age=100.0), NOW, policy) == 8 * (100.0 + 60.0)
    assert lost(running(1, ("a", 0, 4), age=9_000.0), NOW, policy) == 4 * (1800.0 + 60.0)
