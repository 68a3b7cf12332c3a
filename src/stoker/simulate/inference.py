"""Inference beside the jobs of a trace: what it needs over time, how many replicas that makes, and what it got.

How many there are decides `schedule.lend`, as on a running platform, from the load of each `tick`. What is needed
repeats itself after the demand's period, so that it outlasts any trace.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import count, pairwise

from stoker.endpoint import Scaling
from stoker.job import JobKind, JobSpec, Resources
from stoker.schedule import Policy
from stoker.schedule.lend import DAY, Load, wanted

_PRIORITY = 80  # that of an endpoint's replicas
_KEPT_S = DAY + 7200.0  # of loads: the forecast looks at what followed at this time yesterday
_WHOLE_NODE = 8  # devices of a replica beyond which it takes several nodes


@dataclass(frozen=True)
class Demand:
    """From `at` on so many replicas are needed, until the next entry; after `period` it begins anew."""

    at: Sequence[float]  # seconds since the trace began, ascending; the first is 0
    replicas: Sequence[int]
    period: float  # seconds

    def needed(self, moment: float) -> int:
        return self.replicas[bisect_right(self.at, moment % self.period) - 1]

    def steps(self, until: float) -> Iterator[tuple[float, int]]:
        """When the need changes, and to what."""
        for turn in range(math.ceil(until / self.period)):
            for at, needed in zip(self.at, self.replicas, strict=True):
                if turn * self.period + at < until:
                    yield turn * self.period + at, needed


@dataclass(frozen=True)
class Inference:
    """One service whose replicas follow their load."""

    demand: Demand
    replica: JobSpec
    scaling: Scaling  # with a target of 1: load is counted in replicas
    begins: float = 60.0  # seconds until a replica that has been started answers
    tick: float = 60.0  # seconds between two looks at the load


def inference_of(
    demand: Demand,
    *,
    floor: int = 1,
    ceiling: int = 0,
    devices: int = 1,
    begins: float = 60.0,
    tick: float = 60.0,
    window: float = 300.0,
) -> Inference:
    """`ceiling` of 0: the most that is ever needed. Raises BadInput for bounds that there cannot be."""
    scaling = Scaling(floor, ceiling or max(*demand.replicas, floor, 1), target=1.0, window=window)
    nodes = math.ceil(devices / _WHOLE_NODE)
    need = Resources(accelerators=math.ceil(devices / nodes), cpus=0)
    replica = JobSpec(
        name="inference",
        command=("serve",),
        kind=JobKind.SERVICE,
        resources=need,
        nodes=nodes,
        priority=_PRIORITY,
    )
    return Inference(demand, replica, scaling, begins, tick)


def changes(inference: Inference, policy: Policy) -> Iterator[tuple[float, int]]:
    """(at, replicas from then on) from 0 on, without an end; at least one a day, also when nothing changes.

    The service was there the day before, with the same needs.
    """
    scaling, demand = inference.scaling, inference.demand
    loads: list[Load] = []
    kept, current, told_at = math.ceil(_KEPT_S / inference.tick), -1, -math.inf
    for number in count(-math.ceil(DAY / inference.tick)):
        now = number * inference.tick
        if len(loads) > 2 * kept:  # rarely, as it costs
            del loads[:-kept]
        loads.append(Load(now, float(demand.needed(now))))
        found = scaling.ceiling
        if policy.lend:
            told = wanted(
                loads, scaling, current=max(current, 0), now=now, ahead=policy.forecast, share=policy.reserve
            )
            found = told.replicas
        if now >= 0 and (found != current or now - told_at >= DAY):
            told_at = now
            yield now, found
        current = found


@dataclass(frozen=True)
class Served:
    """What inference needed and got; times are seconds since the trace began."""

    needed: Sequence[tuple[float, int]]  # (at, replicas needed from then on)
    there: Sequence[tuple[float, int]]  # (at, replicas that answer from then on)
    devices: int  # of a replica
    ceiling: int
    begin: float  # when the first job came
    until: float  # the simulation's end

    @property
    def missed(self) -> float:
        """Seconds in which fewer replicas answered than were needed."""
        return math.fsum(after - at for at, after, needed, there in self._together() if needed > there)

    @property
    def missing(self) -> float:
        """Replica-seconds that were needed and not there."""
        return math.fsum(
            (after - at) * (needed - there) for at, after, needed, there in self._together() if needed > there
        )

    @property
    def lent(self) -> float:
        """Device-seconds up to the ceiling that inference left to others."""
        held = math.fsum((after - at) * there for at, after, _, there in self._together())
        return self.devices * max(0.0, self.ceiling * (self.until - self.begin) - held)

    def short(self) -> list[tuple[float, float]]:
        """(at, hours missed until then)."""
        found, total = [(0.0, 0.0)], 0.0
        for at, after, needed, there in self._together():
            if needed > there:
                found.append((at, total / 3600))
                total += after - at
                found.append((after, total / 3600))
        return [*found, (self.until, total / 3600)]

    def _together(self) -> Iterator[tuple[float, float, int, int]]:
        """(from, to, needed, there)"""
        needed = there = 0
        steps = merge(
            ((at, 0, number) for at, number in self.needed), ((at, 1, number) for at, number in self.there)
        )
        for (at, which, number), (after, _, _) in pairwise((*steps, (self.until, 2, 0))):
            needed, there = (number, there) if which == 0 else (needed, number)
            if after > at:
                yield at, min(after, self.until), needed, there


def answering(spans: Sequence[tuple[float, float]]) -> list[tuple[float, int]]:
    """(at, replicas that answer from then on) from when each began and ceased to."""
    found, there = [(0.0, 0)], 0
    for at, change in sorted([*((begin, 1) for begin, _ in spans), *((end, -1) for _, end in spans)]):
        there += change
        if found[-1][0] == at:
            found[-1] = at, there
        else:
            found.append((at, there))
    return found
