"""Signal: a named time series with unit and subject."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sample:
    at: float  # seconds since the epoch
    value: float
    step: int | None = None


@dataclass(frozen=True)
class Signal:
    name: str
    unit: str
    subject: str  # what it was measured on: "job/17", "node/gpu-01"
    samples: tuple[Sample, ...]

    @property
    def last(self) -> float | None:
        return self.samples[-1].value if self.samples else None
