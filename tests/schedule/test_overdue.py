"""Who has waited longer than its queue's patience has its place from a moment on that never moves back."""

from __future__ import annotations

import dataclasses
import math

from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.job import Job
from stoker.queue import Queue
from stoker.schedule import Plan, Snapshot, decide
from stoker.schedule.policy import Policy
from tests.schedule.stream import Coming, Stream, nodes_of
from tests.schedule.test_preemption import AT_ONCE, NOW, node, queued, requeued, running, stopping, waiting

PATIENCE = 100.0
QUEUES = (Queue("q", patience=PATIENCE),)


class Promises:
    """The earliest moment told to each job while it was the one that is overdue for longest."""

    def __init__(self) -> None:
        self.told: dict[int, float] = {}

    def __call__(self, snapshot: Snapshot, plan: Plan) -> None:
        for start in plan.starts:
            if (at := self.told.pop(start.job.id, None)) is not None:
                assert snapshot.now <= at + 1e-6, f"job {start.job.id} was to start at {at}"
        waits = [(_since(job, snapshot), job.id) for job in snapshot.pending]
        first = min((one for one in waits if snapshot.now - one[0] >= PATIENCE), default=(0.0, 0))[1]
        if first in plan.reserved:
            at, before = plan.reserved[first].at, self.told.get(first, math.inf)
            assert at <= before + 1e-6, f"job {first} was to start at {before}, and now at {at}"
            self.told[first] = at


def _since(job: Job, snapshot: Snapshot) -> float:
    return snapshot.since[job.id] if job.attempt else job.submitted_at


_LIMITS = st.sampled_from([10.0, 60.0, 300.0, 1000.0, 3000.0])
_GRACES = st.sampled_from([0.0, 5.0, 30.0])


@st.composite
def streams(draw: st.DrawFn) -> list[Coming]:
    """A pool is filled, somebody comes who has to wait, and then those who displace what runs."""
    filling = [_one(draw, 0.0, draw(st.sampled_from([10, 50]))) for _ in range(draw(st.integers(2, 8)))]
    found = [*filling, _one(draw, 1.0, 10, gpus=draw(st.integers(2, 4)))]
    at = 90.0
    for _ in range(draw(st.integers(2, 10))):
        at += draw(st.sampled_from([0.0, 1.0, 10.0, 60.0, 200.0]))
        found.append(_one(draw, at, draw(st.sampled_from([10, 50, 80]))))
    return found


def _one(draw: st.DrawFn, at: float, priority: int, gpus: int = 0) -> Coming:
    limit, grace = draw(_LIMITS), draw(_GRACES)
    return Coming(
        at,
        limit * draw(st.sampled_from([0.1, 0.9, 1.0])),
        gpus or draw(st.sampled_from([1, 1, 2, 3, 4])),
        "q",
        nodes=draw(st.sampled_from([1, 1, 1, 2, 3])),
        priority=priority,
        limit=limit,
        preemptible=draw(st.sampled_from([True, True, True, False])),
        grace=grace,
        stops=grace * draw(st.sampled_from([0.0, 0.5, 1.0])),
    )


@settings(deadline=None, max_examples=100)
@given(
    streams(),
    st.lists(st.integers(1, 4), min_size=1, max_size=4),
    st.sampled_from([0.0, 60.0]),
    st.sampled_from([0, 2]),
)
def test_no_stream_moves_it_back(stream: list[Coming], sizes: list[int], min_runtime: float, moves: int) -> None:
    nodes = [dataclasses.replace(nodes_of(1, gpus)[0], name=f"n{number}") for number, gpus in enumerate(sizes)]
    policy = Policy(min_runtime=min_runtime, moves=moves)
    Stream(nodes, QUEUES, stream, Promises(), policy).run(86400.0)


def overdue(number: int, gpus: int, **fields: object) -> Job:
    return dataclasses.replace(queued(waiting(number, gpus, **fields), "q"), submitted_at=NOW - 1000)


def urgent(number: int, gpus: int) -> Job:
    return dataclasses.replace(queued(waiting(number, gpus, priority=80, time_limit=300.0), "q"), submitted_at=NOW)


def test_who_is_being_ended_has_its_grace_once() -> None:
    """Told to end 10 s ago, it is gone in 20 s at the latest."""
    going = stopping(queued(running(1, ("a", 0, 4)), "q"), None)
    snapshot = Snapshot(NOW, [node("a", 4)], [overdue(30, 4)], [going], queues=QUEUES, since={1: NOW - 10})
    assert decide(snapshot).reserved[30].at == NOW + 20
    late = decide(dataclasses.replace(snapshot, now=NOW + 25, since={1: NOW - 10}))
    assert late.reserved[30].at == NOW + 25  # its engine takes longer than it was given


def test_who_has_room_made_for_it_begins_when_that_has_been_left() -> None:
    going = stopping(queued(running(1, ("a", 0, 4)), "q"), 31)
    pending = [overdue(30, 4), urgent(31, 4)]
    snapshot = Snapshot(NOW, [node("a", 4)], pending, [going], queues=QUEUES, since={1: NOW - 10}, policy=AT_ONCE)
    told = decide(snapshot).reserved[30].at
    assert told == NOW + 20 + 300 + 30
    gone = dataclasses.replace(snapshot, now=NOW + 5, pending=[*pending, requeued(going)], active=[])
    begun = decide(dataclasses.replace(gone, since={1: NOW + 5}))
    assert ([start.job.id for start in begun.starts], begun.reserved[30].at) == ([31], NOW + 5 + 300 + 30)


def test_room_that_has_been_made_does_not_take_what_the_overdue_one_could_have_now() -> None:
    """When the victim is gone job 30 fits on `a`; job 31, for which it went, fits on `b` as well."""
    victim = queued(running(1, ("a", 0, 2), ("b", 0, 2), priority=50), "q")
    nodes, pending = [node("a", 4), node("b", 3)], [overdue(30, 4, priority=10), urgent(31, 2)]
    snapshot = Snapshot(NOW, nodes, pending, [victim], queues=QUEUES, policy=AT_ONCE)
    assert decide(snapshot).preempts
    gone = dataclasses.replace(snapshot, pending=[*pending, requeued(stopping(victim, 31))], active=[])
    starts = decide(dataclasses.replace(gone, since={1: NOW})).starts
    assert {start.job.id: start.placements[0].node for start in starts if start.job.id != 1} == {30: "a", 31: "b"}


def test_its_moment_is_one_that_leaves_the_others_the_room_that_was_made_for_them() -> None:
    """Once job 4 is gone it would fit, in room that was promised to job 21; once job 3 has ended it leaves that."""
    stays = queued(running(3, ("b", 0, 2), age=100.0, priority=50, time_limit=1000.0), "q")
    going = stopping(queued(running(4, ("b", 2, 1), ("d", 0, 1)), "q"), 21)
    gone = requeued(stopping(queued(running(7, ("a", 0, 4), ("c", 0, 4)), "q"), 17))
    wide = queued(waiting(21, 1, priority=80, nodes=3, time_limit=3000.0), "q")
    pending = [overdue(9, 2, nodes=3), urgent(17, 2), wide, gone]
    nodes = [node("a", 4), node("b", 4), node("d", 1), node("c", 4)]
    since = {4: NOW, 7: NOW}
    snapshot = Snapshot(NOW, nodes, pending, [stays, going], queues=QUEUES, policy=AT_ONCE, since=since)
    result = decide(snapshot)
    assert result.reserved[9].at == NOW - 100 + 1000 + 30
    assert 17 in {start.job.id for start in result.starts}
