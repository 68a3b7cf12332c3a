"""What queues were short of is made up for, within bounds, and nobody else is wronged by it."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.job import Job
from stoker.queue import Preemptible, Queue
from stoker.schedule import Credits, Plan, Policy, Snapshot, decide
from stoker.schedule.branch import MADE_UP_S, MOST_OWED_S
from tests.schedule.stream import Coming, Stream, nodes_of
from tests.schedule.test_line import NOW, holding, job, plan, pool
from tests.schedule.test_shares import DAY, HOUR, Delivered

TWO = [Queue("a", deserved=4), Queue("b", deserved=4)]
AT_ONCE = Policy(min_runtime=0.0)


def held(number: int, queue: str, *devices: int, node: str = "n") -> Job:
    return holding(number, queue, *devices, node=node, preemptible=True, time_limit=7200.0, requeue=True)


def victims(result: Plan) -> dict[int, list[int]]:
    return {one.job.id: [victim.id for victim in one.victims] for one in result.preempts}


def decided(pending: Sequence[Job], active: Sequence[Job], credit: Mapping[str, float], **fields: object) -> Plan:
    return plan(TWO, list(pending), list(active), credit=credit, policy=AT_ONCE, **fields)


def test_what_a_queue_lacks_of_its_right_is_owed_to_it_and_what_it_holds_beyond_pays_it_back() -> None:
    owed, queues = Credits(), [Queue("t", deserved=8), *(Queue(name, parent="t", deserved=4) for name in "ab")]
    active = [held(1, "a", 0, 1, 2), held(2, "b", 3, 4, 5, 6, 7)]
    snapshot = Snapshot(NOW, [pool()], [job(3, "a", 2), job(4, "b", 9)], active, queues=queues)
    owed.note(snapshot, decide(snapshot))
    assert owed.at(NOW + 60) == {"a": 60.0}  # t holds all that it deserves
    assert owed.at(NOW + DAY) == {"a": 4 * MOST_OWED_S}
    later = Snapshot(NOW + 60, [pool()], [], [held(1, "b", 0, 1), held(2, "a", 2, 3, 4, 5, 6)], queues=queues)
    owed.note(later, decide(later))
    assert owed.at(NOW + 80) == {"a": 40.0}
    assert owed.at(NOW + 200) == {}


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.integers(0, 8), st.floats(0.1, 5000.0), st.lists(st.floats(0, 1), max_size=3)), max_size=6
    )
)
def test_passes_in_which_nothing_changes_and_restarts_leave_no_trace(
    spans: list[tuple[int, float, list[float]]],
) -> None:
    """In each span `a` holds so many of 8 devices and waits for more; one platform looks when that changes, the
    other at further moments as well, and starts anew from its accounts each time."""
    steady, restarted, now = Credits(), Credits(), NOW
    for count, seconds, looks in spans:
        for share in (0.0, *sorted(looks)):
            at = now + share * seconds
            active = [held(number, "a", number) for number in range(count)]
            snapshot = Snapshot(at, [pool()], [job(20, "a", 9)], active, queues=TWO)
            plan_of_it = decide(snapshot)
            if not share:
                steady.note(snapshot, plan_of_it)
            restarted = Credits(dict(restarted.accounts))
            restarted.note(snapshot, plan_of_it)
        now += seconds
        assert restarted.at(now) == steady.at(now)
    assert restarted.accounts == steady.accounts


def test_who_wants_less_or_is_kept_by_a_limit_is_owed_nothing() -> None:
    owed, queue = Credits(), Queue("a", deserved=4, user_devices=2)
    snapshot = Snapshot(
        NOW, [pool()], [job(2, "a", 2)], [held(1, "a", 0, 1)], queues=[queue, Queue("b", deserved=4)]
    )
    owed.note(snapshot, decide(snapshot))
    assert owed.at(NOW + HOUR) == {}


def test_a_queue_that_was_short_takes_a_job_that_goes_beyond_its_right() -> None:
    active = [held(1, "a", 0, 1, 2), *(held(number, "b", number) for number in range(3, 8))]
    waiting = job(10, "a", 2)
    without = decided([waiting], active, {"a": MADE_UP_S - 60})
    assert victims(without) == {}
    assert without.wake_at == NOW + 60  # it lacks one device, and is owed one more by then
    assert victims(decided([waiting], active, {"a": MADE_UP_S})) == {}, "b would be left with less than it deserves"
    more = [*active[1:], held(8, "b", 8)]
    nodes = [pool(9)]
    assert len(victims(decided([waiting], [active[0], *more], {"a": MADE_UP_S}, nodes=nodes))[10]) == 2


def test_nothing_is_taken_from_a_queue_that_is_owed_it_but_for_one_that_is_owed_far_more() -> None:
    active = [held(1, "a", 0, 1), held(2, "b", 2, 3), *(held(number, "b", number) for number in range(4, 8))]
    waiting = job(10, "a", 2)
    assert len(victims(decided([waiting], active, {}))[10]) == 2
    protected = decided([waiting], active, {"b": 4 * 600.0})
    assert victims(protected) == {}
    assert protected.wake_at == NOW + 4 * 600.0 / 2  # it pays two device-seconds a second
    assert len(victims(decided([waiting], active, {"b": 4 * 600.0, "a": 4 * (600.0 + MADE_UP_S)}))[10]) == 2


def test_who_is_owed_most_goes_first() -> None:
    pending = [job(1, "a", 4), job(2, "b", 4)]
    for first, credit in (("a", {"a": 60.0}), ("b", {"b": 60.0})):
        (start,) = decided(pending, [], credit, nodes=[pool(4)]).starts
        assert start.job.spec.queue == first


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 4)), max_size=8),
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 6)), min_size=1, max_size=8),
    st.dictionaries(st.sampled_from("ab"), st.floats(0, 4 * MOST_OWED_S)),
)
def test_nobody_takes_back_beyond_what_he_is_owed_and_nobody_loses_a_right(
    running: list[tuple[str, int]], waits: list[tuple[str, int]], credit: dict[str, float]
) -> None:
    active, free = [], list(range(8))
    for number, (queue, size) in enumerate(running, start=1):
        if size <= len(free):
            active.append(held(number, queue, *free[:size]))
            free = free[size:]
    pending = [job(100 + number, queue, size) for number, (queue, size) in enumerate(waits)]
    result = decided(pending, active, credit)
    has = {name: sum(one.spec.resources.accelerators for one in active if one.spec.queue == name) for name in "ab"}
    got = dict.fromkeys("ab", 0)
    for start in result.starts:
        got[start.job.spec.queue] += start.job.spec.resources.accelerators
    for one in result.preempts:
        queue, size = one.job.spec.queue, one.job.spec.resources.accelerators
        beyond = has[queue] + size - 4
        assert beyond <= 0 or (has[queue] < 4 and credit.get(queue, 0.0) >= beyond * MADE_UP_S)
        other = "ba"[queue == "b"]
        assert credit.get(other, 0.0) <= max(0.0, credit.get(queue, 0.0) - 4 * MADE_UP_S)
        left = has[other] + got[other]
        for victim in one.victims:
            assert victim.spec.queue != queue
            assert left > 4
            left -= victim.spec.resources.accelerators


def test_jobs_that_do_not_divide_a_right_have_it_over_a_day() -> None:
    """Jobs of three on a right to four: at any one moment it is three or six, and would be three for ever. What is
    not there yet is room: as much as goes beyond is only taken back from who holds as much beyond."""
    chance = random.Random(1)  # noqa: S311
    queues = [Queue("a", deserved=4, patience=None), Queue("b", deserved=4, patience=None)]
    jobs = [Coming(0, 2 * HOUR, 3, "a", limit=3 * HOUR) for _ in range(40)]
    jobs += [Coming(0, chance.uniform(0.25, 1) * HOUR, 1, "b", limit=3 * HOUR) for _ in range(300)]
    delivered = Delivered(queues)
    Stream(nodes_of(1), queues, jobs, delivered).run(1.4 * DAY)
    assert delivered.least("a") >= 0.9
    assert delivered.least("b") >= 0.9


def test_what_was_borrowed_on_many_nodes_is_taken_back_and_the_rest_moved_together() -> None:
    """Each node holds what one borrowed and what another has a right to; a whole one is wanted."""
    queues = [Queue("a", deserved=8), Queue("b", deserved=2), Queue("c", deserved=14)]
    active = [held(number, "b", *range(4), node=node) for number, node in ((1, "n"), (2, "m"))]
    active += [held(number, "c", *range(4, 8), node=node) for number, node in ((3, "n"), (4, "m"))]
    active += [held(5, "c", *range(4), node="o"), held(6, "b", *range(4, 8), node="o")]
    nodes = [pool(name=name) for name in "nmo"]
    result = plan(queues, [job(10, "a", 8)], active, nodes=nodes, policy=AT_ONCE)
    assert len(victims(result)[10]) == 2
    (move,) = result.moves
    assert (move.job.spec.queue, move.room_for.id) == ("c", 10)
    unmoved = Policy(min_runtime=0.0, moves=0)
    assert victims(plan(queues, [job(10, "a", 8)], active, nodes=nodes, policy=unmoved)) == {}
    for preemptible, moves in ((Preemptible.NOBODY, 0), (Preemptible.OWN, 0), (Preemptible.ANYBODY, 1)):
        queues[2] = Queue("c", deserved=14, preemptible=preemptible)
        result = plan(queues, [job(10, "a", 8)], active, nodes=nodes, policy=AT_ONCE)
        assert (len(result.moves), len(result.preempts)) == (moves, moves)
