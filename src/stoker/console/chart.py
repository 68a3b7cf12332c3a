"""A line chart as geometry: what a template needs to draw a Signal beside its Expectation as SVG.

Charts are part of the document: they print, follow light and dark through CSS, need no library and can be tested
without a browser. Coordinates are percent of the plot, y downwards.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from stoker.console import figures
from stoker.console.speed import RATES, recent
from stoker.expectation import Expectation
from stoker.finding import Verdict
from stoker.judge import judge, more_is_better
from stoker.signal import Sample, Signal

MOST_POINTS = 400  # twice what a chart is wide enough for to show
TICKS = 4
SMOOTHING = 0.9  # of the exponential mean drawn over noisy series
FLAT = 1e-9  # of the size of the values: what moves less is drawn as a level line
SMALLEST = 1e-30
SMOOTHED = ("loss",)  # series drawn with their mean
FIRST = ("loss", "eval_loss", "tokens_per_s", "mfu", "lr", "learning_rate")  # the order people look in


@dataclass(frozen=True)
class Point:
    x: float  # step, or seconds since the first sample
    y: float


@dataclass(frozen=True)
class Band:
    """The expectation in the plot, percent from the top."""

    top: float
    height: float
    line: float


@dataclass(frozen=True)
class Chart:
    name: str
    unit: str
    by_step: bool  # else x is seconds
    line: str  # SVG path
    mean: str  # SVG path of the smoothed series, or empty
    data: str  # JSON [[x, y, left %, top %], ...] for the cursor
    last: float  # the latest value; of rates the mean of the latest few
    last_left: float
    last_top: float
    y_ticks: tuple[str, ...]  # top to bottom
    x_ticks: tuple[float, ...]  # left to right
    band: Band | None
    expectation: Expectation | None
    verdict: Verdict | None

    @property
    def bare(self) -> str:
        """The unit where it changes how a number is written, else nothing: for lists that name the unit once."""
        return self.unit if self.unit in ("share", "B") else ""

    @property
    def share(self) -> float | None:
        """Measured of expected."""
        return self.last / self.expectation.value if self.expectation and self.expectation.value else None


def chart(signal: Signal, expectation: Expectation | None = None, *, until: float | None = None) -> Chart | None:
    """The chart of `signal`; None without finite samples. `until`: the last step there will be."""
    points, by_step = _points(signal.samples)
    if not points:
        return None
    right = max(points[-1].x, until or 0.0 if by_step else 0.0)
    left = 0.0 if points[0].x <= 0.05 * right else points[0].x
    rate = signal.name in RATES
    low, high = _range(points, expectation, from_zero=rate)
    step = _nice((high - low) / TICKS)
    low, high = math.floor(low / step) * step, math.ceil(high / step) * step
    frame = _Frame(left, right, low, high)
    last = points[-1]
    shown = (recent(signal) if rate else None) or last.y
    unit = expectation.unit if expectation else signal.unit
    return Chart(
        name=signal.name,
        unit=unit,
        by_step=by_step,
        line=frame.path(points),
        mean=frame.path(_mean(points)) if signal.name in SMOOTHED and len(points) > 20 else "",
        data=json.dumps([frame.place(point) for point in points], separators=(",", ":")),
        last=shown,
        last_left=frame.left(last.x),
        last_top=frame.top(last.y),
        y_ticks=tuple(_tick(high - at * step, step, unit) for at in range(round((high - low) / step) + 1)),
        x_ticks=tuple(left + (right - left) * place / TICKS for place in range(TICKS + 1)),
        band=_band(frame, expectation),
        expectation=expectation,
        verdict=_verdict(expectation, shown, signal.name),
    )


def ordered(names: Sequence[str]) -> list[str]:
    """Signal names as people look at them."""
    return sorted(names, key=lambda name: (FIRST.index(name) if name in FIRST else len(FIRST), name))


@dataclass(frozen=True)
class _Frame:
    x0: float
    x1: float
    low: float
    high: float

    def left(self, x: float) -> float:
        return round(100 * (x - self.x0) / (self.x1 - self.x0), 2) if self.x1 > self.x0 else 0.0

    def top(self, y: float) -> float:
        return round(100 * (self.high - y) / (self.high - self.low), 2)

    def place(self, point: Point) -> tuple[float, float, float, float]:
        return (point.x, point.y, self.left(point.x), self.top(point.y))

    def path(self, points: Sequence[Point]) -> str:
        pairs = (f"{self.left(point.x)} {self.top(point.y)}" for point in points)
        return "M" + "L".join(pairs) + ("h.01" if len(points) == 1 else "")


def _points(samples: Sequence[Sample]) -> tuple[list[Point], bool]:
    """Points to draw, thinned, and whether x counts steps. A resumed job steps back: the later run wins."""
    finite = [sample for sample in samples if math.isfinite(sample.value)]
    by_step = all(sample.step is not None for sample in finite)
    start = finite[0].at if finite else 0.0
    placed: dict[float, float] = {}
    for sample in finite:
        placed[float(sample.step or 0) if by_step else sample.at - start] = sample.value
    return _thin([Point(x, placed[x]) for x in sorted(placed)]), by_step


def _thin(points: list[Point]) -> list[Point]:
    """At most MOST_POINTS, keeping each bucket's lowest and highest, so that no spike is lost."""
    if len(points) <= MOST_POINTS:
        return points
    size = math.ceil(len(points) / (MOST_POINTS / 2 - 1))
    kept = [points[0]]
    for start in range(1, len(points) - 1, size):
        bucket = points[start : min(start + size, len(points) - 1)]
        lowest, highest = min(bucket, key=lambda point: point.y), max(bucket, key=lambda point: point.y)
        kept += sorted({lowest, highest}, key=lambda point: point.x)
    return [*kept, points[-1]]


def _range(points: Sequence[Point], expectation: Expectation | None, *, from_zero: bool) -> tuple[float, float]:
    values = [point.y for point in points]
    if expectation:
        values += [expectation.low, expectation.high]
    if from_zero:
        values.append(0.0)
    low, high = min(values), max(values)
    size = max(abs(low), abs(high))
    if high - low > max(size * FLAT, SMALLEST):
        return low, high
    half = size / 2 if size > SMALLEST else 0.5
    return low - half, high + half


def _nice(step: float) -> float:
    """The next of 1, 2, 2.5, 5, 10 x 10^n: what people can count in."""
    scale: float = 10.0 ** math.floor(math.log10(step))
    return next(factor * scale for factor in (1, 2, 2.5, 5, 10) if factor * scale >= step * 0.999)


def _tick(value: float, step: float, unit: str) -> str:
    exact = 0.0 if abs(value) < step / 1e6 else value
    return figures.quantity(exact, unit) if unit in ("share", "B") else figures.number(exact)


def _mean(points: Sequence[Point]) -> list[Point]:
    """Exponential mean with the bias of its start taken out (as Adam does)."""
    total, weight, smooth = 0.0, 0.0, []
    for point in points:
        total = SMOOTHING * total + (1 - SMOOTHING) * point.y
        weight = SMOOTHING * weight + (1 - SMOOTHING)
        smooth.append(Point(point.x, total / weight))
    return smooth


def _band(frame: _Frame, expectation: Expectation | None) -> Band | None:
    if expectation is None:
        return None
    top = frame.top(expectation.high)
    return Band(top, round(max(0.5, frame.top(expectation.low) - top), 2), frame.top(expectation.value))


def _verdict(expectation: Expectation | None, measured: float, name: str) -> Verdict | None:
    if expectation is None:
        return None
    finding = judge(expectation, measured, subject=name, remedy="stoker why", higher_is_better=more_is_better(name))
    return finding.verdict
