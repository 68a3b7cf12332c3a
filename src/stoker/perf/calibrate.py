"""Calibrate: bend a few knobs so that predictions meet measurements, no further than the measurements warrant.

Least squares in logarithms (Levenberg-Marquardt), with each knob held to its prior by what is believed of it (a
ridge), and errors beyond `HUBER` counted linearly, so that one odd measurement bends nothing. Pure Python: a few
dozen knobs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import exp, log

HUBER = 0.10  # relative error beyond which a measurement is taken for odd
NOISE = 0.03  # relative error expected of a good measurement
_FAR = 0.7  # that a knob's logarithm moves at a time
_STEP = 0.02  # of a knob's logarithm, for derivatives

# One prediction for each of the measurements named by their indices.
Predict = Callable[[Mapping[str, float], Sequence[int]], Sequence[float]]


@dataclass(frozen=True)
class Knob:
    """One physical number that may be bent: its prior, and by what factor it may well be wrong."""

    name: str
    prior: float
    doubt: float  # standard deviation of its logarithm
    most: float = float("inf")
    touches: frozenset[int] | None = None  # measurements it has a part in; None: all


@dataclass(frozen=True)
class Fit:
    """Knobs after calibration, and the errors before and after, as |prediction / measurement - 1|."""

    values: Mapping[str, float]
    before: tuple[float, ...]
    after: tuple[float, ...]


def fit(
    predict: Predict,
    measured: Sequence[float],
    knobs: Sequence[Knob],
    *,
    start: Mapping[str, float] | None = None,
    rounds: int = 12,
    weights: Sequence[float] | None = None,
) -> Fit:
    """The knobs' most plausible values. `predict` maps values of all knobs to predictions."""
    names = [knob.name for knob in knobs]
    at = [log((start or {}).get(knob.name, knob.prior)) for knob in knobs]
    trust = list(weights) if weights else [1.0] * len(measured)

    def values(point: Sequence[float]) -> dict[str, float]:
        return {name: exp(value) for name, value in zip(names, point, strict=True)}

    def residuals(point: Sequence[float], some: Sequence[int]) -> list[float]:
        return [log(p / measured[i]) for p, i in zip(predict(values(point), some), some, strict=True)]

    everything = range(len(measured))

    def cost(errors: Sequence[float], point: Sequence[float]) -> float:
        data = sum(w * _huber(error) for w, error in zip(trust, errors, strict=True)) / NOISE**2
        return data + sum(_prior(knob, value) ** 2 for knob, value in zip(knobs, point, strict=True)) / 2

    now = residuals(at, everything)
    before = tuple(abs(exp(error) - 1) for error in residuals([log(knob.prior) for knob in knobs], everything))
    damping, best = 1e-2, cost(now, at)
    for _ in range(rounds):
        slopes = _slopes(residuals, at, now, knobs)
        while damping < 1e6:
            trial = _moved(slopes, now, at, knobs, trust, damping)
            errors = residuals(trial, everything)
            reached = cost(errors, trial)
            if reached < best:
                break
            damping *= 4
        else:
            break
        gained = best - reached
        at, now, best, damping = trial, errors, reached, damping / 4
        if gained < 2e-5 * max(best, 1.0):
            break
    return Fit(values(at), before, tuple(abs(exp(error) - 1) for error in now))


def _huber(error: float) -> float:
    size = abs(error)
    return size * size / 2 if size < HUBER else HUBER * (size - HUBER / 2)


def _prior(knob: Knob, at: float) -> float:
    return (at - log(knob.prior)) / knob.doubt


def _slopes(
    residuals: Callable[[Sequence[float], Sequence[int]], list[float]],
    at: Sequence[float],
    now: Sequence[float],
    knobs: Sequence[Knob],
) -> list[list[float]]:
    """For each knob, how every residual moves with its logarithm."""
    found = []
    for place, knob in enumerate(knobs):
        some = sorted(knob.touches) if knob.touches is not None else list(range(len(now)))
        moved = [value + (_STEP if index == place else 0.0) for index, value in enumerate(at)]
        slope = [0.0] * len(now)
        for index, new in zip(some, residuals(moved, some), strict=True):
            slope[index] = (new - now[index]) / _STEP
        found.append(slope)
    return found


def _moved(
    slopes: Sequence[Sequence[float]],
    now: Sequence[float],
    at: Sequence[float],
    knobs: Sequence[Knob],
    trust: Sequence[float],
    damping: float,
) -> list[float]:
    """Where one damped step leads; knobs that would pass their bound stop there, and the others are solved anew."""
    free = list(range(len(knobs)))
    trial = list(at)
    while free:
        step = _solve(
            [slopes[i] for i in free], now, [at[i] for i in free], [knobs[i] for i in free], trust, damping
        )
        beyond = [i for i, d in zip(free, step, strict=True) if at[i] + d > log(knobs[i].most)]
        if not beyond:
            for i, d in zip(free, step, strict=True):
                trial[i] = at[i] + max(-_FAR, min(_FAR, d))
            return trial
        for i in beyond:
            trial[i] = log(knobs[i].most)
            now = [r + s * (trial[i] - at[i]) for r, s in zip(now, slopes[i], strict=True)]
        free = [i for i in free if i not in beyond]
    return trial


def _solve(
    slopes: Sequence[Sequence[float]],
    now: Sequence[float],
    at: Sequence[float],
    knobs: Sequence[Knob],
    trust: Sequence[float],
    damping: float,
) -> list[float]:
    """One damped Gauss-Newton step: (J'WJ + P + damping) step = -(J'Wr + prior's slope)."""
    weights = [w / NOISE**2 * min(1.0, HUBER / max(abs(r), 1e-12)) for w, r in zip(trust, now, strict=True)]
    size = len(knobs)
    matrix = [[0.0] * (size + 1) for _ in range(size)]
    for i in range(size):
        weighted = [w * s for w, s in zip(weights, slopes[i], strict=True)]
        for j in range(i, size):
            matrix[i][j] = matrix[j][i] = sum(a * b for a, b in zip(weighted, slopes[j], strict=True))
        hold = 1 / knobs[i].doubt ** 2
        matrix[i][size] = -sum(a * r for a, r in zip(weighted, now, strict=True)) - hold * (
            at[i] - log(knobs[i].prior)
        )
    for i in range(size):
        matrix[i][i] += 1 / knobs[i].doubt ** 2 + damping * (matrix[i][i] + 1.0)
    return _eliminate(matrix)


def _eliminate(matrix: list[list[float]]) -> list[float]:
    """Gaussian elimination of a symmetric positive matrix with the right side as its last column."""
    size = len(matrix)
    for i in range(size):
        for j in range(i + 1, size):
            factor = matrix[j][i] / matrix[i][i]
            matrix[j] = [b - factor * a for a, b in zip(matrix[i], matrix[j], strict=True)]
    found = [0.0] * size
    for i in reversed(range(size)):
        rest = sum(matrix[i][j] * found[j] for j in range(i + 1, size))
        found[i] = (matrix[i][size] - rest) / matrix[i][i]
    return found
