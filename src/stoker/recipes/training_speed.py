"""How fast a training should be on this device, and how much of that it reaches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from stoker import probe
from stoker.expectation import Expectation
from stoker.model import Architecture
from stoker.perf import training
from stoker.recipes.checkpoint import Progress
from stoker.recipes.packing import Row
from stoker.recipes.ranks import Ranks
from stoker.recipes.training_plan import Plan


@dataclass(frozen=True)
class Speed:
    """The cost of this training's steps, and the device as measured."""

    model: Architecture
    plan: Plan
    adapter_parameters: int
    full: bool
    recompute: bool
    device: training.Device

    def flops(self, rows: Sequence[Row]) -> float:
        """Floating-point operations of training `rows`."""
        return training.flops(self.model, self._step(rows))

    def expect(self, group: Ranks) -> Expectation:
        """Tell what speed the first step's size should reach, and return it."""
        rows = self.plan.rows(0)
        mine = rows[group.rank :: group.count] or rows
        tokens = sum(len(row) for row in rows) // group.count
        step = self._step(mine)
        expected = training.expected_speed(self.model, step, self.device, counted=tokens, ranks=group.count)
        if group.first:
            probe.expect(**asdict(expected))
        return expected

    def mean_mfu(self, progress: Progress, *, ranks: int) -> float:
        """Share of the measured peak that the steps so far reached, over all ranks."""
        done = sum(self.flops(self.plan.rows(step)) for step in range(progress.step))
        return done / ranks / max(progress.seconds, 1e-9) / self.device.matmul

    def _step(self, rows: Sequence[Row]) -> training.Step:
        return training.Step(
            tokens=sum(len(row) for row in rows),
            rows=len(rows),
            pairs=sum(row.pairs for row in rows),
            predictions=sum(len(row.targets) for row in rows),
            adapter_parameters=self.adapter_parameters,
            full=self.full,
            recompute=self.recompute,
        )
