"""Lifetimes: which jobs are likely to end soon, learnt from those that ended. Nobody is asked for a duration.

Ages are cut into bins of equal width in their logarithm. Of the jobs of a kind that reached bin k, a share h_k
ended in it: the hazard, by Kaplan and Meier (1958), for which jobs that still run count as far as they have come.
Where few have been seen, a kind's hazard is eased in from that of wider kinds, and the widest from one by which the
logarithm of a lifetime is uniform: clusters have heavy tails.

A job is ranked by its Gittins index (Gittins 1979; for clusters Gu et al., NSDI 2019), the most that can be reached
over all spans d of

    P(ends within d | its age) / E[time it runs within d | its age]

by the devices it holds. When only the distribution is known, running the highest first gives the least mean
completion time.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from stoker.job import Job, JobKind
from stoker.schedule.layout import Floats

_FIRST_S = 10.0  # end of the first bin
_WIDER = 1.5  # each bin ends so many times later; with narrower ones the best span is often only noise
_BINS = 38  # the last ends after a year
_PRIOR = 8.0  # jobs that a wider kind counts for
_LEAST = 4  # jobs that have ended before a kind has a table of its own
_SURE = 1.0 - 1e-6
_REMEMBERED = 20_000  # jobs
_LEARN_AFTER, _LEARN_SHARE, _LEARN_EVERY_S = 10, 0.02, 6 * 3600.0

# All alike; by devices; by devices and whose it is.
Kind = tuple[()] | tuple[int] | tuple[int, str, str]


class Age(NamedTuple):
    """A job, and how long it has run in all its attempts."""

    kind: tuple[int, str, str]
    seconds: float
    ended: bool


@dataclass(frozen=True)
class Lifetimes:
    """`worth`: by kind, per second, for each bin of age."""

    worth: Mapping[Kind, tuple[float, ...]] = field(default_factory=dict)

    def of(self, kind: tuple[int, str, str], seconds: float) -> float:
        """The Gittins index of a job of `kind` that has run for `seconds`: ends per second of running."""
        table = self.worth.get(kind) or self.worth.get(kind[:1]) or self.worth.get(())
        return (table or _UNSEEN)[bin_of(seconds)]


def kind_of(job: Job) -> tuple[int, str, str]:
    need = job.spec.resources
    return math.ceil(job.spec.nodes * need.accelerators * need.milli / 1000), job.tenant, job.owner


def bin_of(seconds: float) -> int:
    return 0 if seconds < _FIRST_S else min(_BINS - 1, 1 + int(math.log(seconds / _FIRST_S, _WIDER)))


def lifetimes_of(ages: Iterable[Age]) -> Lifetimes:
    """What these jobs tell."""
    seen = Counter((age.kind, bin_of(age.seconds), age.ended) for age in ages)
    counts: dict[Kind, tuple[Floats, Floats]] = {(): _nothing()}  # of each bin: ended in it, passed through it
    for (whose, last, ended), jobs in seen.items():
        for kind in ((), whose[:1], whose):
            ends, passed = counts.setdefault(kind, _nothing())
            if ended:
                ends[last] += jobs
            elif last:
                passed[last - 1] += jobs
    hazards: dict[Kind, Floats] = {}
    for kind in sorted(counts, key=len):
        ends, passed = counts[kind]
        if not kind or ends.sum() >= _LEAST:
            reached = np.cumsum((ends + passed)[::-1])[::-1]
            wider = _wider(kind, hazards)
            survivors = _PRIOR * np.concatenate(([1.0], np.cumprod(1.0 - wider)[:-1]))
            hazards[kind] = np.minimum((ends + wider * survivors) / (reached + survivors + 1e-12), _SURE)
    return Lifetimes({kind: tuple(_gittins(hazard).tolist()) for kind, hazard in hazards.items()})


class Experience:
    """What has been seen so far; mutable. It is learnt from anew now and then: that costs more than a placement."""

    def __init__(self) -> None:
        self._ended: deque[Age] = deque(maxlen=_REMEMBERED)
        self._unlearnt = 0
        self._learnt_at = -math.inf
        self._lifetimes = Lifetimes()

    def ended(self, job: Job, seconds: float) -> None:
        """`job` is over, after running for `seconds` in all its attempts."""
        if job.spec.kind is JobKind.SERVICE:  # it ends when nobody asks it any more, which says nothing of others
            return
        self._ended.append(Age(kind_of(job), seconds, ended=True))
        self._unlearnt += 1

    def lifetimes(self, now: float, live: Callable[[], Iterable[Age]]) -> Lifetimes:
        """What is known; `live` are those that still run."""
        enough = self._unlearnt >= max(_LEARN_AFTER, _LEARN_SHARE * len(self._ended))
        if enough or now - self._learnt_at >= _LEARN_EVERY_S:
            self._lifetimes = lifetimes_of([*self._ended, *live()])
            self._unlearnt, self._learnt_at = 0, now
        return self._lifetimes


def _nothing() -> tuple[Floats, Floats]:
    return np.zeros(_BINS), np.zeros(_BINS)


def _wider(kind: Kind, hazards: Mapping[Kind, Floats]) -> Floats:
    if not kind:
        return 1.0 / (_BINS - np.arange(_BINS))
    return hazards.get(kind[:1] if len(kind) > 1 else (), hazards[()])


def _gittins(hazard: Floats) -> Floats:
    """The index at the beginning of each bin. Jobs that end in a bin do so in its middle."""
    later = np.triu(np.ones((_BINS, _BINS)))  # [first bin, bin]
    left = np.cumprod(np.where(later > 0, 1.0 - hazard, 1.0), axis=1)
    before = np.concatenate((np.ones((_BINS, 1)), left[:, :-1]), axis=1)
    runs = np.cumsum(later * _WIDTHS * (before + left) / 2.0, axis=1)
    found: Floats = np.where(later > 0, (1.0 - left) / np.where(later > 0, runs, 1.0), 0.0).max(axis=1)
    return found


_WIDTHS = np.diff(_FIRST_S * _WIDER ** np.arange(_BINS), prepend=0.0)
_UNSEEN = tuple(_gittins(_wider((), {})).tolist())
