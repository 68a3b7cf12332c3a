"""Mix: which jobs are likely to come, learnt from those that came. What a free device is worth depends on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from stoker.job import JobSpec

_PRIOR = 64.0  # weight of what is assumed before jobs have been seen, in jobs
_COVERED = 0.95  # the most frequent shapes that make up so much of the jobs are enough
_USUAL = ((1, 0.5), (2, 0.15), (4, 0.15), (8, 0.2))  # devices on a node, and how often


class Likely(NamedTuple):
    """A shape of job on one node, and how often it comes (any unit)."""

    cpus: float
    milli: int  # of each device
    devices: int
    models: tuple[str, ...]  # acceptable ones in small letters, any when empty
    weight: float


Mix = tuple[Likely, ...]


@lru_cache(maxsize=1)
def usual_mix() -> Mix:
    """What is assumed before any job has been seen."""
    return mix_of(())


def mix_of(specs: Iterable[JobSpec], *, cpus_per_device: float = 8.0) -> Mix:
    """The mix that these jobs show, eased in from whole devices with `cpus_per_device` each while there are few."""
    seen: Counter[tuple[float, int, int, tuple[str, ...]]] = Counter()
    for spec in specs:
        need = spec.resources
        milli = need.milli if need.accelerators else 0
        models = tuple(sorted(model.lower() for model in need.models))
        seen[float(need.cpus), milli, need.accelerators, models] += spec.nodes
    for devices, often in _USUAL:
        seen[cpus_per_device * devices, 1000, devices, ()] += _PRIOR * often  # type: ignore[assignment]
    return _most_frequent(seen)


def _most_frequent(seen: Counter[tuple[float, int, int, tuple[str, ...]]]) -> Mix:
    enough = _COVERED * sum(seen.values())
    kept: list[Likely] = []
    covered = 0.0
    for (cpus, milli, devices, models), count in seen.most_common():
        kept.append(Likely(cpus, milli, devices, models, float(count)))
        covered += count
        if covered >= enough:
            break
    return tuple(kept)
