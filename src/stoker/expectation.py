"""Expectation: what a quantity should be, with bounds and what that follows from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Expectation:
    name: str
    value: float
    low: float
    high: float
    unit: str
    basis: str  # the formula and its inputs, for --explain

    def __post_init__(self) -> None:
        if not self.low <= self.value <= self.high:
            raise ValueError(f"{self.name}: {self.low} <= {self.value} <= {self.high} does not hold")
