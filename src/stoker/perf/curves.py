"""Curves: what share of a peak real work of a given size reaches on an architecture.

A matrix product of f FLOP whose operands and result are b bytes takes

    start + f / (peak x share) + unhidden x b / (bandwidth x memory_share)

`share` is what large products reach (clocks fall under load, epilogues cost). Loading operands is hidden behind
arithmetic but for `unhidden`, which makes efficiency a curve over size: wide and deep products approach `share`,
thin ones fall to the roofline of memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from stoker.perf.datasheet import sheets


@dataclass(frozen=True)
class Curves:
    """The few numbers with which a data sheet becomes an expectation."""

    shares: Mapping[str, float] = field(
        default_factory=dict
    )  # of the peak, by precision, where no card was measured
    sustained: float = 1.0  # of the rate of a lone large product, that products keep in training (power, heat)
    watts: float = 0.0  # W of power limit for each bf16 TFLOP/s of peak of the card that `sustained` was found on
    power: float = 0.0  # how strongly `sustained` falls with fewer watts: the exponent of their ratio
    narrow_sustained: float = 1.0  # the same once more for formats below 16 bits
    memory_share: float = 0.85
    unhidden: float = 0.5
    attention_share: float = 0.6  # of bf16's large products, for fused attention written for this architecture
    ported_attention_share: float = 0.4  # the same for kernels written for the architecture before
    scan_share: float = 0.2  # of bf16's large products, for the scan of state-space blocks
    start: float = 4e-6  # s from one kernel to the next

    def kept(self, precision: str) -> float:
        """Of the rate of a lone large product, what products in this format keep in training."""
        return self.sustained * (self.narrow_sustained if precision in ("fp8", "fp4", "int8") else 1.0)

    def share(self, precision: str) -> float:
        return self.shares.get(precision, self.shares.get("bf16", 0.75))


CURVES = Curves()


def for_architecture(architecture: str) -> Curves:
    """The curves of an architecture; those of the catalogue's default where nothing was measured."""
    return from_numbers(numbers_of(architecture))


def numbers_of(architecture: str) -> dict[str, float]:
    """The catalogue's numbers for an architecture, in base units."""
    known = sheets("curves")
    base, own = known["default"].quantities, known.get(architecture, known["default"]).quantities
    return {name: float(value) for name, value in {**base, **own}.items()}


def from_numbers(numbers: Mapping[str, float]) -> Curves:
    shares = {name.removeprefix("share."): value for name, value in numbers.items() if name.startswith("share.")}
    return Curves(
        shares=shares, **{name: value for name, value in numbers.items() if not name.startswith("share.")}
    )
