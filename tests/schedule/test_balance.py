"""Machines that follow the queues by themselves: single decisions, and a day of bursts."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from stoker.balance import Balance
from stoker.cluster import Device, Node, Place
from stoker.errors import BadInput
from stoker.foreign import ForeignJob, Held
from stoker.job import Job, JobSpec, JobState, Placement, Resources
from stoker.node_drain import NodeDrain
from stoker.node_move import MoveState, NodeMove
from stoker.schedule.balance import Decision, Snapshot, decide

SIDES = ("slurm", "kubernetes")
POLICY = Balance(SIDES, {"slurm": 1, "kubernetes": 1}, patience=60.0, cool_down=600.0, at_once=2)


def machine(name: str, open_on: str, model: str = "H100") -> list[Node]:
    devices = tuple(Device(index, model) for index in range(8))
    return [Node(name, side, 64, 1 << 40, devices, schedulable=side == open_on) for side in SIDES]


def pool(**open_on: str) -> list[Node]:
    return [node for name, side in open_on.items() for node in machine(name, side)]


def kept(nodes: Sequence[Node]) -> dict[Place, NodeDrain]:
    return {node.place: NodeDrain(node.place, "moved", "ann", 0.0, 1) for node in nodes if not node.schedulable}


def job(number: int, engine: str, gpus: int = 8, **fields: object) -> Job:
    spec = JobSpec(command=("x",), engine=engine, resources=Resources(gpus), **fields)  # type: ignore[arg-type]
    return Job(number, spec, "t", "o", JobState.PENDING, 0.0)


def running(pending: Job, node: str) -> Job:
    held = (Placement(node, tuple(range(8))),)
    return dataclasses.replace(pending, state=JobState.RUNNING, engine=pending.spec.engine, placements=held)


def moved(name: str, source: str, target: str, ended_at: float | None, **fields: object) -> NodeMove:
    state = MoveState.DRAINING if ended_at is None else MoveState.DONE
    move = NodeMove(1, name, Place(source, name), Place(target, name), state, "balance", 0.0, "", ended_at=ended_at)
    return dataclasses.replace(move, **{"automatic": True, **fields})  # type: ignore[arg-type]


def decision(nodes: list[Node], waiting: list[Job], **fields: object) -> Decision:
    """What is decided when the shortage has lasted long enough."""
    since = dict.fromkeys(SIDES, 0.0)
    seen = {"kept": kept(nodes), "since": since, **fields}
    return decide(Snapshot(1000.0, POLICY, nodes, waiting, **seen))  # type: ignore[arg-type]


FOUR = pool(a="slurm", b="slurm", c="slurm", d="kubernetes")


def test_idle_machines_go_where_work_waits_for_them_alone() -> None:
    waiting = [job(1, "kubernetes"), job(2, "kubernetes")]
    told = decision(FOUR, waiting)
    assert (told.target, told.machines) == ("kubernetes", ("a",))  # one of them fits on d
    assert (told.short, told.open) == ({"slurm": 0, "kubernetes": 8}, {"slurm": 3, "kubernetes": 1})


def test_others_waiting_counts_unless_more_machines_would_not_help() -> None:
    other = ForeignJob(
        "kubernetes", "ml/a", "a", "bob", JobState.PENDING, nodes=2, devices=16, reason="Unschedulable"
    )
    assert decision(FOUR, [], others=(other,)).machines == ("a", "b")
    held = dataclasses.replace(other, reason="JobHeldUser")
    assert decision(FOUR, [], others=(held,)).machines == ()


def test_a_shortage_has_to_last() -> None:
    waiting = [job(1, "kubernetes"), job(2, "kubernetes")]
    first = decision(FOUR, waiting, since={})
    assert (first.machines, first.since) == ((), {"kubernetes": 1000.0})
    assert decision(FOUR, waiting, since={"kubernetes": 941.0}).machines == ()
    assert decision(FOUR, waiting, since={"kubernetes": 940.0}).machines == ("a",)
    assert decision(FOUR, [], since={"kubernetes": 0.0}).since == {}


def test_the_floor_holds_with_what_is_already_leaving() -> None:
    waiting = [job(number, "kubernetes") for number in range(9)]
    leaving = moved("a", "slurm", "kubernetes", None)
    assert decision(FOUR, waiting).machines == ("a", "b")
    assert decision(FOUR, waiting, moves=(leaving,)).machines == ("b",)
    both = (leaving, moved("b", "slurm", "kubernetes", None))
    assert decision(FOUR, waiting, moves=both).machines == ()


@pytest.mark.parametrize(
    "fields",
    [
        {"moves": (moved("d", "kubernetes", "slurm", 500.0),)},  # the way back, too soon
        {"moves": (moved("a", "slurm", "kubernetes", 900.0, state=MoveState.UNDONE),) * 1, "kept": {}},
        {"away": frozenset({"slurm"})},
        {"kept": {}},  # not ours to open there
        {"active": tuple(running(job(number, "slurm"), name) for number, name in ((7, "a"), (8, "b"), (9, "c")))},
        {
            "others": tuple(
                ForeignJob("slurm", name, name, "bob", JobState.RUNNING, (Held(name, devices=1),)) for name in "abc"
            )
        },
    ],
)
def test_what_keeps_machines_where_they_are(fields: dict[str, object]) -> None:
    assert decision(FOUR, [job(1, "kubernetes"), job(2, "kubernetes")], **fields).machines == ()


def test_a_machine_whose_move_failed_a_moment_ago_is_left_alone() -> None:
    tried = moved("a", "slurm", "kubernetes", 900.0, state=MoveState.UNDONE)
    assert decision(FOUR, [job(1, "kubernetes"), job(2, "kubernetes")], moves=(tried,)).machines == ("b",)


def test_one_that_is_short_itself_gives_nothing() -> None:
    waiting = [job(1, "kubernetes"), job(2, "kubernetes"), *(job(10 + number, "slurm") for number in range(4))]
    assert decision(FOUR, waiting).machines == ()


def test_work_that_may_run_anywhere_is_nobodys_shortage_and_keeps_its_place() -> None:
    assert decision(FOUR, [job(number, "") for number in range(9)]).machines == ()
    waiting = [*(job(number, "") for number in range(3)), *(job(10 + number, "kubernetes") for number in range(2))]
    assert decision(FOUR, waiting).machines == ()


def test_only_machines_that_help_go() -> None:
    nodes = [
        *machine("a", "slurm", "T4"),
        *machine("b", "slurm"),
        *machine("c", "slurm"),
        *machine("d", "kubernetes"),
    ]
    wanted = JobSpec(command=("x",), engine="kubernetes", resources=Resources(8, models=("H100",)))
    waiting = [dataclasses.replace(job(number, "kubernetes"), spec=wanted) for number in range(2)]
    assert decision(nodes, waiting).machines == ("b",)


def test_a_policy_is_checked() -> None:
    with pytest.raises(BadInput, match="name two engines"):
        Balance(("slurm", "slurm"))
    with pytest.raises(BadInput, match='a floor for "slrm" was given; the engines are slurm and kubernetes'):
        Balance(SIDES, {"slrm": 1})
    with pytest.raises(BadInput, match="allowed is 1 to 1000"):
        Balance(SIDES, at_once=0)


# A day

_STEP, _DAY = 60.0, 86_400.0
_MACHINES = 12


@dataclass
class Day:
    """Twelve machines over a day: Slurm's people submit in bursts at night, Kubernetes' by day. A job takes one
    machine. Time goes in steps; a move of an idle machine takes two of them."""

    policy: Balance | None
    now: float = 0.0
    waited: float = 0.0  # machine-seconds
    jobs: int = 0
    open_on: dict[str, str] = field(default_factory=dict)
    queue: list[tuple[float, Job, float]] = field(default_factory=list)  # since, job, how long it will run
    runs: dict[str, tuple[Job, float]] = field(default_factory=dict)  # machine -> job, end
    moves: list[NodeMove] = field(default_factory=list)
    since: dict[str, float] = field(default_factory=dict)
    lowest: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SIDES, _MACHINES))

    def run(self, seed: int) -> Day:
        names = [f"n{number:02}" for number in range(_MACHINES)]
        self.open_on = {name: SIDES[place % 2] for place, name in enumerate(names)}
        rng = random.Random(seed)  # noqa: S311  # a day that can be repeated
        while self.now < _DAY:
            self.arrive(rng)
            self.end_jobs()
            self.start_jobs()
            if self.policy:
                self.balance(self.policy)
            for side in SIDES:
                self.lowest[side] = min(self.lowest[side], sum(one == side for one in self.open_on.values()))
            self.waited += _STEP * len(self.queue)
            self.now += _STEP
        return self

    def arrive(self, rng: random.Random) -> None:
        night = self.now % _DAY < _DAY / 2
        for side in SIDES:
            busy = night == (side == "slurm")
            if rng.random() < (0.012 if busy else 0.001):  # a burst
                for _ in range(rng.randint(2, 10)):
                    self.jobs += 1
                    self.queue.append((self.now, job(self.jobs, side), rng.uniform(600.0, 5400.0)))

    def end_jobs(self) -> None:
        self.runs = {name: run for name, run in self.runs.items() if run[1] > self.now}

    def start_jobs(self) -> None:
        leaving = {move.machine for move in self.moves if not move.state.final}
        waiting = []
        for item in self.queue:
            _, one, length = item
            free = [
                name
                for name, side in self.open_on.items()
                if side == one.spec.engine and name not in self.runs and name not in leaving
            ]
            if free:
                self.runs[free[0]] = (running(one, free[0]), self.now + length)
            else:
                waiting.append(item)
        self.queue = waiting

    def balance(self, policy: Balance) -> None:
        self.finish_moves()
        nodes = [node for name, side in self.open_on.items() for node in machine(name, side)]
        recent = [m for m in self.moves if m.ended_at is None or self.now - m.ended_at <= policy.cool_down]
        active = [run[0] for run in self.runs.values()]
        waiting = [item[1] for item in self.queue]
        told = decide(
            Snapshot(self.now, policy, nodes, waiting, active, kept=kept(nodes), moves=recent, since=self.since)
        )
        self.since = dict(told.since)
        for name in told.machines:
            assert name not in self.runs
            move = moved(name, policy.other(told.target), told.target, None, created_at=self.now)
            self.moves.append(dataclasses.replace(move, id=len(self.moves)))

    def finish_moves(self) -> None:
        for place, move in enumerate(self.moves):
            if not move.state.final and self.now - move.created_at >= 2 * _STEP:
                self.moves[place] = move.moved(MoveState.OPENING, self.now).moved(MoveState.DONE, self.now)
                self.open_on[move.machine] = move.target.engine


@pytest.mark.parametrize("seed", range(3))
def test_over_a_day_less_is_waited_floors_hold_and_nothing_swings(seed: int) -> None:
    policy = Balance(SIDES, {"slurm": 2, "kubernetes": 3}, patience=120.0, cool_down=1800.0, at_once=3)
    fixed, balanced = Day(None).run(seed), Day(policy).run(seed)
    assert fixed.jobs == balanced.jobs > 50
    assert balanced.waited < 0.5 * fixed.waited
    assert all(balanced.lowest[side] >= policy.floor(side) for side in SIDES)
    assert min(balanced.lowest.values()) < _MACHINES // 2  # machines did go over
    for earlier, later in zip(balanced.moves, balanced.moves[1:], strict=False):
        if earlier.target.engine != later.target.engine:
            assert later.created_at - (earlier.ended_at or 0.0) >= policy.cool_down
    assert len(balanced.moves) < balanced.jobs / 2


def test_in_a_quiet_day_nothing_moves() -> None:
    day = Day(POLICY)
    day.arrive = lambda rng: None  # type: ignore[method-assign]
    assert day.run(1).moves == []
