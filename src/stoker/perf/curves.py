"""Curves: what share of a peak real work of a given size reaches.

A kernel of f FLOP whose operands are b bytes takes

    start + max(f / (peak x share x fill), b / (bandwidth x memory_share))

`share` is what large products reach (clocks fall under load, epilogues cost), and `fill` how well a product fills
the chip: work / (work + half), a saturating curve with half its height at `half` FLOP per operation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from stoker.perf.datasheet import sheets
from stoker.perf.precision import Precision


@dataclass(frozen=True)
class Curves:
    """The few numbers with which a data sheet becomes an expectation."""

    shares: Mapping[str, float] = field(default_factory=dict)  # of the peak, by precision
    memory_share: float = 0.85
    half_work: float = 2e9  # FLOP of a matrix product that reaches half of its share
    attention_share: float = 0.6  # of what large products reach, for fused attention
    start: float = 5e-6  # s from one kernel to the next

    def share(self, precision: Precision) -> float:
        return self.shares.get(precision, self.shares.get("bf16", 0.75))

    def fill(self, flops: float) -> float:
        return flops / (flops + self.half_work)


CURVES = Curves()


def for_architecture(architecture: str) -> Curves:
    """The curves of an architecture; those of the catalogue's default where nothing was measured."""
    known = sheets("curves")
    sheet = known.get(architecture, known["default"])
    base = known["default"].quantities
    numbers = {name: float(value) for name, value in {**base, **sheet.quantities}.items()}
    shares = {name.removeprefix("share."): value for name, value in numbers.items() if name.startswith("share.")}
    rest = {name: value for name, value in numbers.items() if not name.startswith("share.")}
    return Curves(shares=shares, **rest)
