"""The loop: rows in, gradients added up over rows and ranks, one optimiser step, told to whoever watches."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from stoker import probe
from stoker.errors import Broken
from stoker.recipes.checkpoint import Progress
from stoker.recipes.cpu_share import CpuShare
from stoker.recipes.packing import Row
from stoker.recipes.ranks import Ranks
from stoker.recipes.row_pass import RowPass
from stoker.recipes.training_plan import Plan


@dataclass(frozen=True)
class Loop:
    """Everything that stays the same from step to step."""

    plan: Plan
    row_pass: RowPass
    parameters: dict[str, torch.nn.Parameter]
    optimiser: torch.optim.Optimizer
    ranks: Ranks
    rate_at: Callable[[int], float]  # learning rate of a step
    clip: float  # largest norm of the gradient; 0 does not clip
    flops_of: Callable[[list[Row]], float]  # of one rank's share of a step
    peak: float  # FLOP/s of one rank, what MFU is measured against
    save: Callable[[Progress], None]
    save_every: int  # steps
    cpus: CpuShare | None = None  # of a training on CPUs: what it gets of them, step by step

    def run(self, progress: Progress) -> Progress:
        """Train from `progress` to the end of the plan. Raises Broken when the loss is no number any more."""
        while progress.step < self.plan.steps:
            progress = self._step(progress)
            if progress.step % self.save_every == 0 and progress.step < self.plan.steps:
                self._checkpoint(progress)
        return progress

    def _step(self, progress: Progress) -> Progress:
        started = time.perf_counter()
        step = progress.step
        rows = self.plan.rows(step)
        mine = rows[self.ranks.rank :: self.ranks.count]
        rate = self.rate_at(step)
        loss = self._gradients(step, mine, targets=sum(len(row.targets) for row in rows))
        if not math.isfinite(loss):
            raise Broken(
                f"the loss became {loss} at step {step + 1} (learning rate {rate:.2g}, previous losses "
                f"{[round(value, 3) for value in progress.losses[-3:]]}): lower learning_rate or clip lower; "
                "if it stays, the data or the device is at fault"
            )
        self._move(rate)
        seconds = time.perf_counter() - started
        got = self.cpus.lap() if self.cpus else None
        tokens = sum(len(row) for row in rows)
        if self.ranks.first:
            self._tell(step, loss, rate, tokens / seconds, self.flops_of(mine) / seconds / self.peak, got)
        return replace(
            progress,
            step=step + 1,
            tokens=progress.tokens + tokens,
            losses=(*progress.losses, loss),
            seconds=progress.seconds + seconds,
        )

    def _gradients(self, step: int, rows: list[Row], *, targets: int) -> float:
        """Leave the gradient of the mean loss over all ranks' targets in the parameters; that loss."""
        # Dropout depends on step and rank alone, so a resumed run repeats it.
        torch.manual_seed((self.plan.seed * 1_000_003 + step) * 4096 + self.ranks.rank)
        total = torch.zeros((), device=self.row_pass.device)
        for row in rows:
            loss = self.row_pass.loss(row) / targets
            loss.backward()
            total += loss.detach()
        self.ranks.add_gradients(self.parameters.values())
        return self.ranks.add(float(total), self.row_pass.device)

    def _move(self, rate: float) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        if self.clip:
            torch.nn.utils.clip_grad_norm_(self.parameters.values(), self.clip)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)

    def _checkpoint(self, progress: Progress) -> None:
        if self.ranks.first:
            self.save(progress)
        self.ranks.wait()

    def _tell(
        self, step: int, loss: float, rate: float, tokens_per_s: float, mfu: float, got: float | None
    ) -> None:
        probe.report(
            step=step + 1,
            total=self.plan.steps,
            loss=round(loss, 5),
            tokens_per_s=round(tokens_per_s, 1),
            mfu=round(mfu, 4),
            lr=rate,
            **({} if got is None else {"cpu_share": round(got, 3)}),
        )
