"""Which rows each optimiser step trains, and at which learning rate: a pure function of the step's number.

So a resumed run goes on exactly where it was, and every rank knows the whole plan without talking.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Literal

from stoker.recipes import packing
from stoker.recipes.chatmask import Tokens
from stoker.recipes.packing import Row

Schedule = Literal["cosine", "linear", "constant"]


@dataclass(frozen=True)
class Plan:
    records: Sequence[Tokens]
    batch: int  # records per optimiser step, over all ranks
    row_tokens: int  # longest packed row
    packed: bool
    epochs: float
    max_steps: int  # 0: as many as the epochs make
    seed: int

    @cached_property
    def shared(self) -> int:
        """Tokens every record begins with."""
        return packing.common_beginning(self.records) if self.packed else 0

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(len(self.records) / self.batch)

    @property
    def steps(self) -> int:
        due = max(1, round(self.epochs * self.steps_per_epoch))
        return min(due, self.max_steps) if self.max_steps else due

    def rows(self, step: int) -> list[Row]:
        """The rows of `step`, for all ranks together."""
        epoch, place = divmod(step, self.steps_per_epoch)
        order = list(range(len(self.records)))
        Random(f"{self.seed}/{epoch}").shuffle(order)  # noqa: S311 - an order of records, not a secret
        chosen = [self.records[index] for index in order[place * self.batch : (place + 1) * self.batch]]
        chosen.sort(key=len)  # alike lengths side by side: less padding inside attention
        if not self.packed:
            return [packing.pack([record], 0) for record in chosen]
        return list(packing.rows(chosen, self.shared, self.row_tokens))


def learning_rate(step: int, steps: int, peak: float, schedule: Schedule, warmup: float) -> float:
    """Rate of `step` (from 0): up to `peak` over the first `warmup` share of the steps, then down to zero."""
    rising = max(1, round(warmup * steps))
    if step < rising:
        return peak * (step + 1) / rising
    done = (step - rising) / max(1, steps - rising)
    if schedule == "cosine":
        return peak * 0.5 * (1 + math.cos(math.pi * done))
    return peak * (1 - done) if schedule == "linear" else peak
