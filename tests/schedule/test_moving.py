"""Running work is moved together when that lets a waiting job in; nobody loses more by it than the pool gains."""

from __future__ import annotations

import dataclasses

from hypothesis import given, settings

from stoker.job import Job, JobState
from stoker.schedule import Plan, Policy, Snapshot, decide
from stoker.schedule.pool import field_of
from tests.schedule.test_preemption import NOW, node, plan, pools, requeued, running, stopping, waiting

NODES = [node("a", 4), node("b", 4)]


def scattered(**fields: object) -> list[Job]:
    """Half of each node is held: a job of four finds no room, although four are free."""
    same = {"priority": 50, "time_limit": 1e6, **fields}
    return [running(2, ("a", 0, 2), age=200.0, **same), running(3, ("b", 0, 2), age=100.0, **same)]


def moves(result: Plan) -> dict[int, tuple[list[str], int]]:
    return {move.job.id: ([place.node for place in move.placements], move.room_for.id) for move in result.moves}


def test_the_cheaper_one_goes_to_the_other_node_so_that_the_large_one_gets_in() -> None:
    result = plan(NODES, [waiting(1, 4)], scattered())
    assert moves(result) == {3: (["a"], 1)}
    assert result.moves[0].buys == "lets job 1 in"
    assert (result.preempts, result.starts) == ([], [])
    assert result.waits[1].message == "its room is being made: waits for job 3 to end"


def sharing(job: Job, milli: int) -> Job:
    return dataclasses.replace(
        job,
        spec=dataclasses.replace(job.spec, resources=dataclasses.replace(job.spec.resources, milli=milli)),
    )


def test_two_that_share_devices_change_places_for_a_third() -> None:
    """200 thousandths are free on either device; 400 fit where the 300 of both are."""
    held = [
        sharing(running(number, (name, 0, 1), priority=50, time_limit=1e6), milli)
        for number, name, milli in ((2, "a", 500), (3, "a", 300), (4, "b", 500), (5, "b", 300))
    ]
    nodes = [node("a", 1), node("b", 1)]
    result = plan(nodes, [sharing(waiting(1, 1), 400)], held)
    gone, came = sorted(result.moves, key=lambda move: -move.job.spec.resources.milli)
    assert [move.job.spec.resources.milli for move in (gone, came)] == [500, 300]
    assert (gone.placements, came.placements) == (came.job.placements, gone.job.placements)
    assert {move.buys for move in result.moves} == {"lets job 1 in"}
    assert plan(nodes, [sharing(waiting(1, 1), 400)], held, Policy(moves=1, min_runtime=0.0)).moves == []


def test_both_rooms_are_kept_until_both_are_in() -> None:
    first, second = scattered()
    going = dataclasses.replace(stopping(second, 1), moves=True)
    small = waiting(5, 1, time_limit=1.0, priority=90)
    assert plan(NODES, [waiting(1, 4), small], [first, going]).starts == []
    result = plan(NODES, [waiting(1, 4), small, requeued(going)], [first])
    started = {start.job.id: [place.node for place in start.placements] for start in result.starts}
    assert started == {1: ["b"], 3: ["a"]}


def test_nobody_moves_who_may_not_or_for_too_little() -> None:
    assert plan(NODES, [waiting(1, 4)], scattered(preemptible=False)).moves == []
    assert plan(NODES, [waiting(1, 4)], scattered(), Policy(moves=0, min_runtime=0.0)).moves == []
    soon = scattered(time_limit=210.0)  # room comes by itself in a moment
    assert plan(NODES, [waiting(1, 4)], soon).moves == []
    full = [*scattered(), running(4, ("a", 2, 2), priority=50), running(5, ("b", 2, 2), priority=50)]
    assert plan(NODES, [waiting(1, 4)], full).moves == []


def test_a_higher_priority_displaces_instead() -> None:
    result = plan(NODES, [waiting(1, 4, priority=80)], scattered())
    assert (moves(result), [one.job.id for one in result.preempts]) == ({}, [1])


@given(pools())
@settings(deadline=None)
def test_whoever_moves_and_whom_it_is_for_are_both_in_afterwards(snapshot: Snapshot) -> None:
    equal = [
        dataclasses.replace(job, spec=dataclasses.replace(job.spec, priority=80))
        for job in (*snapshot.pending, *snapshot.active)
    ]
    snapshot = dataclasses.replace(
        snapshot,
        pending=[job for job in equal if job.state is JobState.PENDING],
        active=[job for job in equal if job.state is not JobState.PENDING],
    )
    result = decide(snapshot)
    assert len(result.moves) <= snapshot.policy.moves
    for move in result.moves:
        assert move.job.spec.preemptible
        assert len(move.placements) == move.job.spec.nodes
        assert (move.engine, move.placements) != (move.job.engine, move.job.placements)
    if not result.moves:
        return
    gone = {move.job.id for move in result.moves}
    pending = [job for job in snapshot.pending if job.id not in {start.job.id for start in result.starts}]
    back = [
        dataclasses.replace(requeued(job), gives_way_to=result.moves[0].room_for.id, moves=True)
        for job in snapshot.active
        if job.id in gone
    ]
    left = [job for job in snapshot.active if job.id not in gone and job.state is not JobState.STOPPING]
    begun = [_begun(start.job, start.engine, start.placements) for start in result.starts]
    after = decide(dataclasses.replace(snapshot, pending=[*pending, *back], active=[*left, *begun]))
    in_now = {start.job.id for start in after.starts}
    assert in_now >= {*gone, result.moves[0].room_for.id}
    everything = [*left, *begun, *(_begun(start.job, start.engine, start.placements) for start in after.starts)]
    field = field_of(snapshot.nodes, everything)
    assert (field.free[field.layout.model > 0] >= 0).all()


def _begun(job: Job, engine: str, placements: tuple[object, ...]) -> Job:
    return dataclasses.replace(
        job,
        state=JobState.RUNNING,
        started_at=NOW,
        engine=engine,
        placements=placements,  # type: ignore[arg-type]
    )


def moved_away(now: float, *, closed: bool) -> Snapshot:
    """Job 3 has left node `b` at `NOW`, where job 1 is to start; its engine may not show that at once."""
    first, second = scattered()
    gone = requeued(dataclasses.replace(stopping(second, 1), moves=True))
    nodes = [NODES[0], dataclasses.replace(NODES[1], schedulable=not closed)]
    policy = Policy(min_runtime=0.0)
    return Snapshot(now, nodes, [waiting(1, 4), gone], [first], since={3: NOW}, policy=policy)


def starts(result: Plan) -> dict[int, list[str]]:
    return {start.job.id: [place.node for place in start.placements] for start in result.starts}


def test_who_moved_does_not_go_on_before_the_room_that_it_left_is_shown_as_free() -> None:
    """Job 1 would be forgotten, and job 3, which may be moved at any moment, would be moved for it once more."""
    hidden = decide(moved_away(NOW + 1, closed=True))
    assert (starts(hidden), hidden.moves, hidden.preempts) == ({}, [], [])
    assert starts(decide(moved_away(NOW + 2, closed=False))) == {1: ["b"], 3: ["a"]}


def test_room_that_is_not_shown_within_a_minute_is_given_up() -> None:
    assert decide(moved_away(NOW + 1, closed=True)).wake_at == NOW + 60
    assert starts(decide(moved_away(NOW + 60, closed=True))) == {3: ["a"]}


def test_the_last_that_went_waits_for_the_one_it_went_for_while_others_still_end() -> None:
    """What job 4 holds of its room is cancelled and takes its time; there is room for job 3 already."""
    first, second = scattered()
    gone = requeued(dataclasses.replace(stopping(second, 1), moves=True))
    cancelled = stopping(running(4, ("b", 3, 1)), None)
    policy = Policy(min_runtime=0.0)
    snapshot = Snapshot(NOW, NODES, [waiting(1, 4), gone], [first, cancelled], since={3: NOW - 100}, policy=policy)
    result = decide(snapshot)
    assert (starts(result), result.moves) == ({}, [])
    assert {1, 3} <= {job for job, wait in result.waits.items() if "its room is being made" in wait.message}
    assert starts(decide(dataclasses.replace(snapshot, active=[first]))) == {1: ["b"], 3: ["a"]}
