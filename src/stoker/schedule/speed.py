"""Expected speed: what a job loses on a slower model than it could have, in the units of what others lose.

A job that accepts several models runs at s_m / s of the speed it would have on the fastest of them. So of the
thousandths it takes, the share 1 - s_m / s is lost to itself, as a sliver is lost to others, and both losses are
added. A fast device that many others want is left to them; one that nobody else wants is taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from stoker.cluster import profile_of
from stoker.job import JobKind, JobSpec
from stoker.schedule.layout import Floats

_SLICES = 7  # parts that a whole device is cut into at most: 1g is one of them


class Speed(NamedTuple):
    """Of a model, in any unit that is the same for all."""

    compute: float  # what training needs
    bandwidth: float  # of memory: what generating tokens needs


Speeds = Mapping[str, Speed]  # model in small letters -> its speed


def slower(spec: JobSpec, models: Sequence[str], accepted: Sequence[bool], speeds: Speeds) -> Floats | None:
    """By number of the model, the thousandths that the job loses there; None where there is nothing to compare.

    `models` are numbered from 1, and `accepted` goes by that number. When the speed of one is not known, nobody
    knows which is the fastest.
    """
    need = spec.resources
    numbers = [number for number, model in enumerate(models, start=1) if accepted[number]]
    if len(need.models) < 2 or len(numbers) < 2 or not need.accelerators:
        return None
    rates = {number: _rate(models[number - 1], spec.kind, speeds) for number in numbers}
    fastest = max(rates.values())
    if not all(rates.values()):
        return None
    lost = np.zeros(len(models) + 1)
    for number, rate in rates.items():
        lost[number] = (1.0 - rate / fastest) * need.accelerators * need.milli
    return lost


def _rate(model: str, kind: JobKind, speeds: Speeds) -> float:
    """0 where it is not known. A slice has its part of a device."""
    profile = profile_of(model)
    told = speeds.get(model.removesuffix(f"-{profile}") if profile else model)
    if told is None:
        return 0.0
    rate = told.bandwidth if kind is JobKind.SERVICE else told.compute
    parts = profile.rpartition("g.")[0].rpartition(".")[2]
    return rate * min(1.0, int(parts) / _SLICES) if parts.isdigit() else rate
