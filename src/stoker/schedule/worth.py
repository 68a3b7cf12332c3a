"""What the free room of a node is worth: how many thousandths of its devices the jobs to come will use.

Placing a job costs what it makes unusable for the others: slivers that few jobs fit into, and devices whose CPUs
are gone. Let a device with f thousandths free be offered a stream of jobs drawn from the mix, each taken when it
fits. With p_t the share of shape t, g_t the thousandths and c_t the CPUs it takes of one device, the thousandths
e_l(f) and CPUs k_l(f) that l more jobs of the stream take are

    e_l(f) = sum over t with g_t <= f of p_t (g_t + e_{l-1}(f - g_t))  +  (1 - sum of these p_t) e_{l-1}(f)
    k_l(f) = the same with c_t

The devices of a node share its CPUs. With c CPUs free, and K = sum of k(f) over its devices wanted, a share
H(c / K) of the devices can be used, H(r) = E[min(1, r + sigma z)] for a normal z: demand scatters around its mean.
The worth of the node is

    V = H(c / K) x sum of e(f)

A placement is judged by V(after) - V(before). FGD (Weng et al., USENIX ATC 2023) looks at the next job only; this
looks `Outlook.stream` jobs ahead, so it sees a node run out of CPUs before it has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import erf, exp, pi, sqrt
from typing import NamedTuple

import numpy as np

from stoker.cluster import WHOLE, accepts
from stoker.schedule.layout import Floats, Ints
from stoker.schedule.mix import Likely, Mix

_STEPS, _MOST = 256, 4.0  # the table of H: steps per unit of c / K, and where it ends


@dataclass(frozen=True)
class Worth:
    """Tables for the device models 1 to n; model 0 is no device and worth nothing.

    A device is looked up at `model * (WHOLE + 1) + thousandths free`. The entries are multiples of 2^-20, so that
    sums of them are exact: a node is worth the same whatever it was reckoned together with, or from.
    """

    used: Floats  # thousandths that will be used
    wanted: Floats  # CPUs that this takes
    share: Floats  # H by c / K, in steps of 1 / _STEPS

    def demand(self, devices: Ints) -> tuple[Floats, Floats]:
        """Thousandths that will be used and CPUs wanted by node, from its devices [node, device]."""
        return self.used[devices].sum(axis=1), self.wanted[devices].sum(axis=1)

    def change(self, before: Ints, after: Ints) -> tuple[Floats, Floats]:
        """What both are more by, for each of these devices."""
        return self.used[after] - self.used[before], self.wanted[after] - self.wanted[before]

    def of_whole(self, model: Ints | np.intp) -> tuple[Floats, Floats]:
        """Both for a whole device of the model."""
        at = model * (WHOLE + 1) + WHOLE
        return self.used[at], self.wanted[at]

    def value(self, cpus: Floats, used: Floats, wanted: Floats) -> Floats:
        """V by node, from its free CPUs and the demand on it."""
        ratio = np.clip(cpus / np.maximum(wanted, 1e-9), 0.0, _MOST)
        found: Floats = used * self.share[(ratio * _STEPS).astype(np.int64)]
        return found

    def of(self, cpus: Floats, models: Ints, free: Ints) -> Floats:
        """V by node, from CPUs free [n], models [n, device] and thousandths free [n, device]."""
        return self.value(cpus, *self.demand(models * (WHOLE + 1) + free))


class Outlook(NamedTuple):
    """How the jobs to come are reckoned with; an administrator's policy may say otherwise."""

    stream: int = 100  # jobs that are offered to a device
    scatter: float = 0.2  # sigma
    wanted: float = 0.7  # of the CPUs that the stream would take: the node's other devices take some of the jobs


USUAL = Outlook()


@lru_cache(maxsize=8)
def worth_of(mix: Mix, models: tuple[str, ...], outlook: Outlook = USUAL) -> Worth:
    """The tables for `models` (in small letters), numbered from 1."""
    used = np.zeros((len(models) + 1, WHOLE + 1))
    wanted = np.zeros_like(used)
    total = sum(likely.weight for likely in mix) or 1.0
    for number, model in enumerate(models, start=1):
        fitting = [one for one in mix if one.devices and accepts(one.models, model)]
        if fitting:
            used[number], wanted[number] = _offered(fitting, total, outlook.stream)
    return Worth(_exact(used), _exact(outlook.wanted * wanted), _share(outlook.scatter))


def _exact(table: Floats) -> Floats:
    rounded: Floats = np.rint(table * 2.0**20) / 2.0**20
    return rounded.ravel()


def _offered(fitting: Sequence[Likely], total: float, stream: int) -> tuple[Floats, Floats]:
    """e and k over thousandths free. A job of several devices comes to each of them with its share of CPUs.

    Shapes that take the same of a device differ in CPUs only: they are one, with the mean of their CPUs.
    """
    takes, kind = np.unique([one.milli for one in fitting], return_inverse=True)
    weights = np.array([one.weight * one.devices for one in fitting]) / total
    odds = np.bincount(kind, weights)
    cpus = np.bincount(kind, weights * [one.cpus / one.devices for one in fitting]) / odds
    odds = odds / max(1.0, odds.sum())
    free = np.arange(WHOLE + 1)
    chance = odds[:, None] * (takes[:, None] <= free)
    rest = np.maximum(free - takes[:, None], 0)
    idle = 1.0 - chance.sum(axis=0)
    used, wanted = np.zeros(WHOLE + 1), np.zeros(WHOLE + 1)
    for _ in range(stream):
        used = (chance * (takes[:, None] + used[rest])).sum(axis=0) + idle * used
        wanted = (chance * (cpus[:, None] + wanted[rest])).sum(axis=0) + idle * wanted
    return used, wanted


def _share(scatter: float) -> Floats:
    """H(r) = r Phi(z) + 1 - Phi(z) - sigma phi(z) with z = (1 - r) / sigma."""
    ratios = [step / _STEPS for step in range(round(_MOST * _STEPS) + 1)]
    return np.clip([_mean_of_least(ratio, scatter) for ratio in ratios], 0.0, 1.0)


def _mean_of_least(ratio: float, scatter: float) -> float:
    z = (1.0 - ratio) / scatter
    below = 0.5 * (1.0 + erf(z / sqrt(2.0)))
    return ratio * below + 1.0 - below - scatter * exp(-z * z / 2.0) / sqrt(2.0 * pi)
