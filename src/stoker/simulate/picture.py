"""Line charts as SVG: part of the document, without a library or a script; dark and light by the reader's wish."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT = 720, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 12, 40, 36
_POINTS = 600  # of a line: more than its pixels show nothing more
_TICKS = 5
COLOURS = ("#3366cc", "#dc6900", "#109618", "#990099", "#666666")
STYLE = (
    ".chart text{font:12px system-ui,sans-serif;fill:#444}.chart .title{font-size:14px;fill:#222}"
    ".chart .grid{stroke:#ddd;stroke-width:1}.chart path{fill:none;stroke-width:1.6;stroke-linejoin:round}"
    "@media(prefers-color-scheme:dark){.chart text{fill:#bbb}.chart .title{fill:#eee}.chart .grid{stroke:#444}}"
)
Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    name: str
    points: Sequence[Point]  # by x
    steps: bool = False  # a value holds until the next one


@dataclass(frozen=True)
class Axis:
    label: str
    log: bool = False
    tick: Callable[[float], str] = "{:g}".format


def document(title: str, lines: Sequence[Line], x: Axis, y: Axis) -> str:
    """The chart as a file of its own, with its style."""
    return chart(title, lines, x, y).replace("<title>", f"<style>{STYLE}</style><title>", 1) + "\n"


def chart(title: str, lines: Sequence[Line], x: Axis, y: Axis) -> str:
    """The whole SVG element, for a page that has `STYLE`; empty without points."""
    lines = [Line(line.name, _thin(line.points), line.steps) for line in lines if line.points]
    if not lines:
        return ""
    across = _Scale.of((px for line in lines for px, _ in line.points), x, _LEFT, _WIDTH - _RIGHT)
    up = _Scale.of((py for line in lines for _, py in line.points), y, _HEIGHT - _BOTTOM, _TOP, from_zero=not y.log)
    parts = [
        f'<svg class="chart" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">',
        f"<title>{escape(title)}</title>",
        f'<text class="title" x="{_LEFT}" y="16">{escape(title)}</text>',
        *_grid(across, up, x, y),
        *(part for number, line in enumerate(lines) for part in _drawn(line, number, across, up)),
        "</svg>",
    ]
    return "".join(parts)


@dataclass(frozen=True)
class _Scale:
    low: float
    high: float
    begin: float
    end: float
    log: bool

    @classmethod
    def of(
        cls, values: Iterable[float], axis: Axis, begin: float, end: float, *, from_zero: bool = False
    ) -> _Scale:
        found = [value for value in values if math.isfinite(value) and (value > 0 or not axis.log)] or [1.0]
        low, high = (min(0.0, *found) if from_zero else min(found)), max(found)
        if low == high:
            high = low * 10 if axis.log else low + 1
        return cls(low, high, begin, end, axis.log)

    def place(self, value: float) -> float:
        if self.log:
            value = max(value, self.low)
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return round(self.begin + (self.end - self.begin) * share, 1)

    def ticks(self) -> list[float]:
        if self.log:
            first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
            return [10.0**power for power in range(first, last + 1)] or [self.low, self.high]
        step = _nice((self.high - self.low) / _TICKS)
        return [step * number for number in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]


def _nice(step: float) -> float:
    scale: float = 10.0 ** math.floor(math.log10(step))
    return next(factor * scale for factor in (1, 2, 5, 10) if factor * scale >= step * 0.999)


def _grid(across: _Scale, up: _Scale, x: Axis, y: Axis) -> list[str]:
    bottom = _HEIGHT - _BOTTOM
    parts = [
        f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{up.place(at)}" y2="{up.place(at)}"/>'
        f'<text x="{_LEFT - 6}" y="{up.place(at) + 4}" text-anchor="end">{escape(y.tick(at))}</text>'
        for at in up.ticks()
    ]
    parts += [
        f'<text x="{across.place(at)}" y="{bottom + 16}" text-anchor="middle">{escape(x.tick(at))}</text>'
        for at in across.ticks()
    ]
    parts.append(f'<text x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 4}" text-anchor="end">{escape(x.label)}</text>')
    parts.append(f'<text x="{_WIDTH - _RIGHT}" y="16" text-anchor="end">{escape(y.label)}</text>')
    return parts


def _drawn(line: Line, number: int, across: _Scale, up: _Scale) -> list[str]:
    colour = COLOURS[number % len(COLOURS)]
    path = ""
    for at, (px, py) in enumerate(line.points):
        left, top = across.place(px), up.place(py)
        path += f"M{left} {top}" if not at else f"H{left}V{top}" if line.steps else f"L{left} {top}"
    at = _LEFT + 150 * number
    key = f'<path d="M{at} 28h18" stroke="{colour}"/><text x="{at + 24}" y="32">{escape(line.name[:20])}</text>'
    return [f'<path d="{path}" stroke="{colour}"/>', key]


def _thin(points: Sequence[Point]) -> Sequence[Point]:
    """At most about `_POINTS`, with the least and the most of each stretch."""
    if len(points) <= _POINTS:
        return points
    size = math.ceil(2 * len(points) / _POINTS)
    kept: list[Point] = [points[0]]
    for start in range(1, len(points) - 1, size):
        stretch = points[start : min(start + size, len(points) - 1)]
        ends = {min(stretch, key=lambda point: point[1]), max(stretch, key=lambda point: point[1])}
        kept += sorted(ends)
    return [*kept, points[-1]]
