"""Whatever answers come, in whatever order, and wherever the platform is killed: what must hold of a move.

Random walks with weights: evenly drawn events would rarely carry a move as far as where it matters. What was
reached is counted and asserted, since a walk that reaches nothing proves nothing.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import ClassVar

from stoker.control.moves import Terms
from stoker.errors import StokerError
from stoker.job import JobState
from stoker.node_move import MoveState
from tests.control.pool import ADMIN, KUBERNETES, SLURM, Killed, Truth, World

OTHERS_REASON = "fan"
WALKS, LENGTH = 1500, 60


class Walk:
    """One move of one machine, in a world that does not wait for it."""

    WEIGHTS: ClassVar = {
        "goes_on": 12, "is_killed_as_it_goes_on": 3, "is_killed": 0.3, "pass_begins": 4, "pass_ends": 2,
        "is_asked": 8, "is_asked_as_a_job_starts": 2, "call_will_fail": 1, "time_goes_by": 1.5,
        "others_start": 3, "others_end": 4, "ours_ends": 3, "is_undone": 0.3, "others_drain": 0.15,
        "others_open": 0.15,
    }  # fmt: skip

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311  # a test that can be repeated
        self.world = World(both_open=self.random.random() < 0.1)
        self.reached: Counter[str] = Counter()
        self.undone_by_others = False  # whether somebody else opened a side
        world = self.world
        world.go_on()
        world.slurm.on_open = world.kubernetes.on_open = self.check_opening
        if self.random.random() < 0.5:
            world.jobs.start(SLURM)
        world.slurm.foreign = self.random.choice((0, 0, 1))
        terms = Terms(preempt=self.random.random() < 0.5, within=self.random.choice((None, None, 60.0)))
        world.ask(world.slurm)
        world.moves.create(["gpu3"], "kubernetes", ADMIN, terms)
        if self.random.random() < 0.3:
            self.asked_in_between(world.slurm, goes_on=True)

    def run(self) -> Counter[str]:
        events, weights = list(self.WEIGHTS), list(self.WEIGHTS.values())
        for event in self.random.choices(events, weights, k=LENGTH):
            getattr(self, event)()
            self.check()
            if self.world.move.state.final:
                break
        self.calm_down()
        self.reached.update(step.value for step in self.world.move.steps)
        self.reached[self.world.move.state.value] += 1
        return self.reached

    # what must hold

    def check_opening(self, opened: Truth) -> None:
        """We are about to open one side: the heart of the matter."""
        world = self.world
        other = world.kubernetes if opened is world.slurm else world.slurm
        self.reached[f"opens {opened.name}"] += 1
        assert opened.closed_for != OTHERS_REASON, "somebody else's drain is undone"
        if self.undone_by_others or world.move.both_open:
            return
        assert not other.open, "open on both sides"
        assert other.foreign == 0, f"others hold devices on {other.name}"
        assert not [job for job in world.jobs.active() if job.engine == other.name], "we hold devices there"

    def check(self) -> None:
        world, move = self.world, self.world.move
        if not move.preempt:
            assert all(job.state is not JobState.STOPPING for job in world.jobs.active())
        if not move.state.final:
            return
        kept = world.drain_store.kept
        if move.state is MoveState.DONE:
            assert kept[SLURM].reason == move.drain_reason
            assert KUBERNETES not in kept
        else:
            assert move.state is MoveState.UNDONE
            assert SLURM not in kept
            assert world.slurm.closed_for in ("", OTHERS_REASON)
            if not (move.both_open or self.undone_by_others):
                assert not world.kubernetes.open

    def calm_down(self) -> None:
        """Left alone, and with all jobs ended, the move comes to an end."""
        world = self.world
        for engine in world.engines:
            engine.fail, engine.before_inventory, engine.foreign = "", None, 0
        world.fate.kill_at = 0
        for seconds in (0.0,) * 12 + (400.0,) * 3:  # a target that somebody drained does not come up
            for job in world.jobs.active():
                world.jobs.end(job.id)
            world.clock.advance(seconds)
            if not world.move.state.final:
                world.go_on()
                world.go_on()
            self.check()
        assert world.move.state.final, world.move

    # what happens

    def goes_on(self, kill: int = 0) -> None:
        fate = self.world.fate
        fate.kill_at = fate.steps + kill if kill else 0
        try:
            self.world.advance()
        except Killed:
            self.reached["killed"] += 1
            self.world.restart()
        fate.kill_at = 0

    def is_killed_as_it_goes_on(self) -> None:
        self.goes_on(kill=self.random.randint(1, 6))

    def is_killed(self) -> None:
        self.world.restart()

    def pass_begins(self) -> None:
        if self.world.passes.seen is None:
            self.world.passes.begin()

    def pass_ends(self) -> None:
        before = len(self.world.jobs.jobs)
        self.world.passes.finish(starts=self.random.random() < 0.5)
        for job in list(self.world.jobs.jobs.values())[before:]:
            other = self.world.kubernetes if job.engine == "slurm" else self.world.slurm
            if not (self.undone_by_others or self.world.move.both_open):
                assert not other.open, f"a pass from before the drain starts on {job.engine}"

    def is_asked(self) -> None:
        self.world.clock.advance(1.0)
        self.world.ask(self.side())

    def is_asked_as_a_job_starts(self) -> None:
        """The list of jobs has been made, the nodes have not been looked at yet."""
        self.asked_in_between(self.side(), goes_on=self.random.random() < 0.5)

    def asked_in_between(self, side: Truth, *, goes_on: bool) -> None:
        def event() -> None:
            self.start_on(side)
            if goes_on:
                self.goes_on()

        side.before_inventory = event
        self.world.clock.advance(1.0)
        self.world.ask(side)

    def call_will_fail(self) -> None:
        self.side().fail = self.random.choice(("ask", "before", "after"))

    def time_goes_by(self) -> None:
        self.world.clock.advance(self.random.choice((2.0, 5.0, 5.0, 400.0)))

    def others_start(self) -> None:
        self.start_on(self.side())

    def others_end(self) -> None:
        side = self.side()
        side.foreign = max(0, side.foreign - 1)

    def ours_ends(self) -> None:
        if active := self.world.jobs.active():
            self.world.jobs.end(active[0].id)

    def is_undone(self) -> None:
        try:
            self.world.moves.undo(self.world.move.id, ADMIN)
        except StokerError:
            assert self.world.move.state.final

    def others_drain(self) -> None:
        self.side().closed_for = OTHERS_REASON

    def others_open(self) -> None:
        side = self.side()
        if not side.open:
            side.closed_for, self.undone_by_others = "", True

    def side(self) -> Truth:
        return self.random.choice(self.world.engines)

    def start_on(self, side: Truth) -> None:
        if side.open:
            side.foreign += 1


def test_no_walk_opens_a_machine_twice() -> None:
    reached: Counter[str] = Counter()
    for seed in range(WALKS):
        try:
            reached += Walk(seed).run()
        except AssertionError as error:
            raise AssertionError(f"walk {seed}: {error}") from error
    often = ("done", "undone", "killed", "preempt", "opens kubernetes", "opens slurm", "closed")
    assert {what: reached[what] for what in often if reached[what] < WALKS / 50} == {}


def test_walks_can_be_repeated() -> None:
    assert Walk(17).run() == Walk(17).run()
