"""Jobs that take as many nodes as there are: they start smaller, shrink instead of dying, and grow when it pays."""

from __future__ import annotations

import dataclasses

from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.job import Job, JobState
from stoker.schedule import Plan, unfit
from tests.schedule.test_preemption import NOW, node, plan, requeued, running, stopping, victims, waiting


def started(result: Plan) -> dict[int, list[str]]:
    return {start.job.id: [place.node for place in start.placements] for start in result.starts}


def elastic(number: int, most: int, least: int = 1, **fields: object) -> Job:
    return waiting(number, 8, nodes=most, min_nodes=least, preemptible=True, priority=20, **fields)


def on(job: Job, *names: str, age: float = 100_000.0) -> Job:
    held = running(job.id, *((name, 0, 8) for name in names), age=age)
    return dataclasses.replace(held, spec=job.spec)


NODES = [node(name) for name in "abcd"]


def test_it_starts_with_what_there_is() -> None:
    assert started(plan(NODES, [elastic(1, 8)], [])) == {1: ["a", "b", "c", "d"]}
    held = running(2, ("a", 0, 1), priority=90)
    assert started(plan(NODES, [elastic(1, 8)], [held])) == {1: ["b", "c", "d"]}
    assert started(plan(NODES, [elastic(1, 8, 4)], [held])) == {}
    assert started(plan(NODES, [elastic(1, 2)], [])) == {1: ["a", "b"]}


def test_what_is_handed_over_is_the_job_as_it_was_asked_for() -> None:
    (start,) = plan(NODES[:2], [elastic(1, 8)], []).starts
    assert (start.job.spec.nodes, len(start.placements)) == (8, 2)


def test_only_the_fewest_nodes_have_to_be_there_at_all() -> None:
    assert unfit(elastic(1, 8, 4).spec, NODES) == ""
    assert unfit(elastic(1, 8, 5).spec, NODES) == "asks for 5 nodes; 4 could hold it"


def test_it_shrinks_when_room_is_taken_from_it() -> None:
    """It is ended for two nodes, and starts again on the other two."""
    held = on(elastic(1, 4), "a", "b", "c", "d")
    urgent = waiting(2, 8, nodes=2)
    assert victims(plan(NODES, [urgent], [held])) == {2: [1]}
    going = stopping(held, 2)
    assert started(plan(NODES, [urgent], [going])) == {}
    result = plan(NODES, [urgent, requeued(going)], [])
    assert sorted(len(names) for names in started(result).values()) == [2, 2]


def test_it_grows_when_nobody_waits_and_the_restart_pays() -> None:
    held = on(elastic(1, 4, checkpoint_every=600.0), "a", "b")
    (move,) = plan(NODES, [], [held]).moves
    assert (move.job.id, len(move.placements), move.buys) == (1, 4, "grows from 2 to 4 nodes")
    assert plan(NODES, [], [dataclasses.replace(held, started_at=NOW - 120.0)]).moves == []
    assert plan(NODES, [waiting(2, 8, nodes=5, priority=10)], [held]).moves != []  # that can never run here
    assert plan(NODES, [waiting(2, 8, nodes=3, priority=10)], [held]).moves == []
    assert plan(NODES[:2], [], [held]).moves == []


def test_the_room_it_grows_into_is_kept_until_it_is_there() -> None:
    held = on(elastic(1, 3, checkpoint_every=600.0), "a")
    nodes = NODES[:3]
    (move,) = plan(nodes, [], [held]).moves
    going = dataclasses.replace(stopping(held, move.room_for.id), moves=True)
    late = waiting(2, 8, priority=10)
    assert started(plan(nodes, [late], [going])) == {}
    assert started(plan(nodes, [late, requeued(going)], [])) == {1: ["a", "b", "c"]}


@given(
    most=st.integers(1, 6),
    least=st.integers(1, 6),
    busy=st.lists(st.sampled_from("abcd"), unique=True, max_size=4),
)
@settings(deadline=None)
def test_it_gets_the_most_that_fits_and_never_less_than_it_needs(most: int, least: int, busy: list[str]) -> None:
    least = min(least, most)
    active = [running(10 + at, (name, 0, 1), priority=90, preemptible=False) for at, name in enumerate(busy)]
    result = plan(NODES, [elastic(1, most, least)], active)
    free = 4 - len(busy)
    assert [len(start.placements) for start in result.starts] == ([min(most, free)] if free >= least else [])
    assert all(job.state is not JobState.STOPPING for job in active)


def test_an_elastic_job_that_waits_displaces_no_more_than_it_needs() -> None:
    active = [running(at, (name, 0, 8), priority=10) for at, name in enumerate("abcd", 10)]
    urgent = waiting(1, 8, nodes=4, min_nodes=2, priority=80)
    assert len(victims(plan(NODES, [urgent], active))[1]) == 2
