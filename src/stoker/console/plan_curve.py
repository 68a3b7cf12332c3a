"""Expected bandwidth over message size as geometry: a line within its bounds, sizes by powers of two.

Coordinates are percent of the plot, y downwards, as in ``chart``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from stoker.expectation import Expectation
from stoker.units import format_bytes

_STEPS = (1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 7.5, 10)
_TICKS = 4


@dataclass(frozen=True)
class Curve:
    """SVG paths of a line and of the area between its bounds, and the words at the axes."""

    line: str
    band: str
    bound: float  # % from the top, of what cannot be beaten
    y_ticks: tuple[str, ...]  # top to bottom
    x_ticks: tuple[str, ...]


def curve(sizes: Sequence[int], expected: Sequence[Expectation], bound: Expectation) -> Curve:
    """`expected` at `sizes` bytes, which double from one to the next."""
    top = _round_up(max(bound.value, *(one.high for one in expected)))
    right = max(1, len(sizes) - 1)
    x = [round(100 * place / right, 2) for place in range(len(sizes))]

    def y(value: float) -> float:
        return round(100 * (1 - value / top), 2)

    upper = [f"{at} {y(one.high)}" for at, one in zip(x, expected, strict=True)]
    lower = [f"{at} {y(one.low)}" for at, one in zip(x, expected, strict=True)]
    return Curve(
        line="M" + "L".join(f"{at} {y(one.value)}" for at, one in zip(x, expected, strict=True)),
        band="M" + "L".join([*upper, *reversed(lower)]) + "Z",
        bound=y(bound.value),
        y_ticks=tuple(f"{top * (1 - place / _TICKS):,.4g}" for place in range(_TICKS + 1)),
        x_ticks=tuple(format_bytes(sizes[round(right * place / _TICKS)]) for place in range(_TICKS + 1)),
    )


def _round_up(value: float) -> float:
    """The next number that gives round ticks."""
    part = value / _TICKS
    scale: float = 10.0 ** math.floor(math.log10(part))
    return _TICKS * scale * next(step for step in _STEPS if step * scale >= part * 0.999)
