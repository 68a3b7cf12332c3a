"""Machines that go from one engine to another: the desk against engines that do as they are told, and worse."""

from __future__ import annotations

import dataclasses

import pytest

from stoker.account import Account, Role
from stoker.control.moves import Terms
from stoker.errors import Away, BadInput, Conflict, Denied, NotFound
from stoker.job import JobSpec, JobState, Resources
from stoker.node_move import MOVES, MoveState, Step
from tests.control.pool import ADMIN, KUBERNETES, SLURM, Killed, World


@pytest.fixture
def world() -> World:
    world = World()
    world.go_on()
    return world


def begin(world: World, **terms: object) -> None:
    world.moves.create(["gpu3"], "kubernetes", ADMIN, Terms(**terms))  # type: ignore[arg-type]


def test_an_idle_machine_goes_over(world: World) -> None:
    begin(world)
    move = world.settle()
    assert move.state is MoveState.DONE
    assert (world.slurm.closed_for, world.kubernetes.open) == (move.drain_reason, True)
    assert world.drain_store.kept[SLURM].move == move.id
    assert KUBERNETES not in world.drain_store.kept
    taken = [Step.DRAIN, Step.DRAINED, Step.OPEN, Step.OPENED]
    assert list(move.steps) == taken
    assert sorted(move.steps.values()) == list(move.steps.values())


def test_and_back_again(world: World) -> None:
    begin(world)
    first = world.settle()
    world.moves.create(["gpu3"], "slurm", ADMIN)
    assert world.settle().state is MoveState.DONE
    assert (world.slurm.open, world.kubernetes.open) == (True, False)
    assert world.drain_store.kept.keys() == {KUBERNETES}
    assert world.kubernetes.closed_for != first.drain_reason


def test_jobs_of_ours_and_of_others_are_waited_for(world: World) -> None:
    job = world.jobs.start(SLURM)
    world.slurm.foreign = 1
    begin(world)
    for _ in range(5):
        world.go_on()
    assert world.move.state is MoveState.DRAINING
    assert world.move.waits_for == f"held by job {job.id} of o, slurm job 0 of bob"
    assert world.jobs.jobs[job.id].state is JobState.RUNNING
    world.jobs.end(job.id)
    world.go_on()
    assert world.move.waits_for == "held by slurm job 0 of bob"
    world.slurm.foreign = 0
    assert world.settle().state is MoveState.DONE


def test_told_so_jobs_that_may_be_requeued_make_room_and_no_others(world: World) -> None:
    stays = world.jobs.start(SLURM, JobSpec(command=("x",), resources=Resources(accelerators=4)))
    goes = world.jobs.start(SLURM)
    begin(world, preempt=True)
    for _ in range(3):
        world.go_on()
    assert world.jobs.jobs[goes.id].state is JobState.STOPPING
    assert world.jobs.jobs[goes.id].reason == "Preempted"
    assert world.jobs.jobs[stays.id].state is JobState.RUNNING
    assert world.move.state is MoveState.DRAINING
    for job in (goes, stays):
        world.jobs.end(job.id)
    assert world.settle().state is MoveState.DONE


def test_what_others_run_without_devices_is_in_nobodys_way(world: World) -> None:
    begin(world)
    held = world.kubernetes.others
    world.kubernetes.others = lambda: tuple(  # type: ignore[method-assign]
        dataclasses.replace(one, held=tuple(dataclasses.replace(part, devices=0) for part in one.held))
        for one in held()
    )
    world.kubernetes.foreign = 3
    assert world.settle().state is MoveState.DONE


def test_a_job_that_slipped_in_while_the_engine_was_being_asked_is_seen(world: World) -> None:
    """The answer that shows the node drained may hold a list of jobs from just before the drain."""
    begin(world)
    world.advance()
    assert world.slurm.closed_for
    world.slurm.closed_for, reason = "", world.slurm.closed_for

    def too_late() -> None:
        world.slurm.foreign, world.slurm.closed_for = 1, reason

    world.slurm.before_inventory = too_late  # began after the list of jobs was made, before the node was looked at
    for _ in range(4):
        world.go_on()
    assert (world.move.state, world.kubernetes.open) == (MoveState.DRAINING, False)
    assert world.move.waits_for == "held by slurm job 0 of bob"


def test_a_pass_of_the_scheduler_that_began_before_the_drain_is_waited_for(world: World) -> None:
    world.passes.begin()
    begin(world)
    for _ in range(5):
        world.advance()
        for engine in world.engines:
            world.ask(engine)
    assert (world.move.state, world.kubernetes.open) == (MoveState.DRAINING, False)
    world.passes.finish(starts=True)
    world.go_on()
    assert world.move.waits_for == "held by job 1 of o"


def test_when_time_is_up_everything_is_put_back(world: World) -> None:
    job = world.jobs.start(SLURM)
    begin(world, within=60.0)
    world.go_on()
    world.go_on()
    world.clock.advance(60.0)
    move = world.settle()
    assert move.state is MoveState.UNDONE
    assert move.message == f"not done within 1 min: held by job {job.id} of o"
    as_before(world)
    assert world.jobs.jobs[job.id].state is JobState.RUNNING


def as_before(world: World) -> None:
    assert (world.slurm.open, world.kubernetes.closed_for) == (True, world.parked.reason)
    assert world.drain_store.kept == {KUBERNETES: world.parked}


@pytest.mark.parametrize("rounds", range(5))
def test_an_administrator_may_undo_at_any_time(world: World, rounds: int) -> None:
    begin(world)
    for _ in range(rounds):
        world.advance()
        for engine in world.engines[: rounds % 2 + 1]:
            world.ask(engine)
    if world.move.state.final:
        with pytest.raises(Conflict, match="is done and cannot become undoing"):
            world.moves.undo(world.move.id, ADMIN)
        return
    world.moves.undo(world.move.id, ADMIN)
    assert world.settle().state is MoveState.UNDONE
    assert world.move.message == "undone by ann"
    as_before(world)


def test_a_target_that_somebody_else_drained_stays_drained(world: World) -> None:
    begin(world)
    world.kubernetes.closed_for = "disk 3 is broken"
    move = world.settle()
    assert (move.state, world.kubernetes.closed_for) == (MoveState.UNDONE, "disk 3 is broken")
    assert move.message == "gpu3 is drained on kubernetes for another reason: disk 3 is broken"
    assert world.slurm.open


def test_a_source_that_somebody_else_drained_meanwhile_stays_drained_when_undone(world: World) -> None:
    world.slurm.foreign = 1
    begin(world)
    world.go_on()
    world.go_on()
    world.slurm.closed_for = "fan"
    world.moves.undo(world.move.id, ADMIN)
    move = world.settle()
    assert (move.state, world.slurm.closed_for) == (MoveState.UNDONE, "fan")
    assert "left as it is on slurm" in move.message
    assert world.drain_store.kept.keys() == {KUBERNETES}


def test_a_source_that_somebody_opens_ends_the_move(world: World) -> None:
    world.slurm.foreign = 1
    begin(world)
    world.go_on()
    world.go_on()
    world.slurm.closed_for = ""
    move = world.settle()
    assert (move.state, move.message) == (MoveState.UNDONE, "somebody else opened it on slurm")
    as_before(world)


def test_a_target_that_does_not_come_up_is_closed_again(world: World) -> None:
    begin(world)
    inventory = world.kubernetes.inventory
    world.kubernetes.inventory = lambda: tuple(  # type: ignore[method-assign]
        dataclasses.replace(node, schedulable=False, reason="kubelet is not ready") for node in inventory()
    )
    for _ in range(6):
        world.go_on()
    assert world.move.state is MoveState.OPENING
    world.clock.advance(301.0)
    move = world.settle()
    assert move.message == "kubernetes did not take it within 5 min (kubelet is not ready)"
    assert move.state is MoveState.UNDONE
    as_before(world)


def test_what_began_on_the_target_before_the_undo_is_waited_for(world: World) -> None:
    begin(world)
    while not world.move.took(Step.OPENED):
        world.go_on()
    assert (world.move.state, world.kubernetes.open) == (MoveState.OPENING, True)
    world.kubernetes.foreign = 1
    world.moves.undo(world.move.id, ADMIN)
    for _ in range(4):
        world.go_on()
    assert (world.move.state, world.slurm.open, world.kubernetes.open) == (MoveState.UNDOING, False, False)
    assert world.move.waits_for == "held by kubernetes job 0 of bob"
    world.kubernetes.foreign = 0
    assert world.settle().state is MoveState.UNDONE
    as_before(world)


def test_an_engine_that_is_away_is_waited_for(world: World) -> None:
    begin(world)
    world.go_on()
    world.slurm.fail = "ask"
    world.ask(world.slurm)
    world.advance()
    assert world.move.waits_for == "slurm is away: slurm timed out"
    assert world.settle().state is MoveState.DONE


def test_a_node_that_vanishes_ends_the_move(world: World) -> None:
    world.slurm.foreign = 1
    begin(world)
    world.go_on()
    world.kubernetes.gone = True
    move = world.settle()
    assert (move.state, move.message) == (MoveState.UNDONE, "kubernetes has no node gpu3 any more")
    assert world.slurm.open


def test_a_machine_that_is_open_on_both_sides_is_closed_on_one() -> None:
    world = World(both_open=True)
    world.go_on()
    world.kubernetes.foreign = 1  # may stay: nothing is to be opened there
    begin(world)
    assert world.settle().state is MoveState.DONE
    assert (world.slurm.open, world.kubernetes.open) == (False, True)
    assert world.kubernetes.calls == []


def test_and_open_on_both_sides_again_when_that_is_undone() -> None:
    world = World(both_open=True)
    world.go_on()
    world.slurm.foreign = 1
    begin(world)
    world.go_on()
    world.go_on()
    world.moves.undo(world.move.id, ADMIN)
    assert world.settle().state is MoveState.UNDONE
    assert (world.slurm.open, world.kubernetes.open, world.drain_store.kept) == (True, True, {})


@pytest.mark.parametrize("how", ["before", "after"])
@pytest.mark.parametrize("engine", ["slurm", "kubernetes"])
def test_a_call_that_fails_is_repeated(world: World, engine: str, how: str) -> None:
    (world.slurm if engine == "slurm" else world.kubernetes).fail = how
    begin(world)
    assert world.settle().state is MoveState.DONE
    assert (world.slurm.open, world.kubernetes.open) == (False, True)


@pytest.mark.parametrize("undo", [False, True])
def test_killed_at_any_step_it_goes_on(undo: bool) -> None:
    steps = 0
    for kill_at in range(1, 60):
        world = World()
        world.go_on()
        begin(world)
        world.fate.steps, world.fate.kill_at = 0, kill_at
        killed = False
        try:
            world.go_on()
            world.go_on()
            if undo:
                world.moves.undo(world.move.id, ADMIN)
            world.settle()
        except Killed:
            killed = True
            world.restart()
            world.settle()
        over = MoveState.UNDONE if "undone by ann" in world.move.message else MoveState.DONE
        assert world.move.state is over, kill_at
        assert (world.slurm.open, world.kubernetes.open) == (over is MoveState.UNDONE, over is MoveState.DONE)
        if not killed:
            assert over is (MoveState.UNDONE if undo else MoveState.DONE)
            break
        steps += 1
    assert steps > 8


def test_who_may_and_what_is_refused(world: World) -> None:
    user = Account("u", "uma", Role.USER, "speech", 0.0)
    with pytest.raises(Denied, match="admin is needed to move nodes"):
        world.moves.create(["gpu3"], "kubernetes", user)
    with pytest.raises(NotFound, match='no engine "kubernets"; near names: kubernetes'):
        world.moves.create(["gpu3"], "kubernets", ADMIN)
    with pytest.raises(NotFound, match='no node "gpu4"; near names: gpu3'):
        world.moves.create(["gpu3", "gpu4"], "kubernetes", ADMIN)
    with pytest.raises(
        Conflict, match="gpu3 takes no work on kubernetes: moved to slurm, move 7; let it do so first"
    ):
        world.moves.create(["gpu3"], "slurm", ADMIN)
    with pytest.raises(BadInput, match="1 s to 30 days"):
        world.moves.create(["gpu3"], "kubernetes", ADMIN, Terms(within=0.0))
    assert world.moves.find(ADMIN) == []
    begin(world)
    with pytest.raises(Conflict, match="gpu3 is being moved already"):
        begin(world)


def test_a_machine_that_somebody_else_drained_is_not_moved(world: World) -> None:
    world.slurm.closed_for = "fan"
    world.ask(world.slurm)
    with pytest.raises(Conflict, match="gpu3 takes no work on slurm: fan"):
        begin(world)
    world.slurm.closed_for = ""
    world.drain_store.kept.clear()
    for engine in world.engines:
        world.ask(engine)
    with pytest.raises(Conflict, match="gpu3 was drained on kubernetes by somebody else"):
        begin(world)


def test_nothing_is_begun_while_an_engine_is_away(world: World) -> None:
    world.kubernetes.fail = "ask"
    world.ask(world.kubernetes)
    with pytest.raises((Away, NotFound)):
        begin(world)


def test_the_table_of_states_ends_in_final_ones() -> None:
    assert {state for state in MoveState if state.final} == {MoveState.DONE, MoveState.UNDONE, MoveState.FAILED}
    assert MOVES.keys() == set(MoveState)
