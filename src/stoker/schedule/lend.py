"""How many replicas an endpoint should have now: it lends what it does not need, and takes it back when load rises.

Demand is concurrency: requests being worked on, those that wait included, as the gateway counts them (by Little's
law rate times latency). With `target` requests a replica meets its latency objective, so

    needed(t) = ceil(in_flight(t) / target),   more while the measured latency is above its objective

Up goes fast: the latest span decides, and what is forecast for `ahead` seconds: the trend of the last spans, and
what followed at this time yesterday, scaled to today. Down goes slowly: never below what was needed at any moment
of the stabilisation window, as in Kubernetes' HorizontalPodAutoscaler; with a floor of 0 the last replica goes when
nobody has asked for `idle` seconds. Pure: no I/O and no clock.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from stoker.endpoint import Scaling

DAY = 86400.0
_TREND_SPANS = 5  # the last ones tell the trend
_MOST_AT_ONCE = 2.0  # a latency above its objective asks for at most so many times the replicas there are
_LEAST_SCALE, _MOST_SCALE = 0.5, 2.0  # today against yesterday
_COMPARED_S = 1800.0  # over which the two days are compared
_ALIKE = 1e-9  # of a ratio that floats have rounded up


class Cause(StrEnum):
    """What the number rests on."""

    FIXED = "fixed"  # floor and ceiling are the same
    FLOOR = "floor"
    CEILING = "ceiling"  # more would be needed
    LOAD = "load"  # what is in flight now
    LATENCY = "latency"  # the objective is missed
    FORECAST = "forecast"
    RECENT = "recent"  # what was needed a moment ago: the stabilisation window


@dataclass(frozen=True)
class Load:
    """What an endpoint had to do over one span of time."""

    at: float  # its end, seconds since the epoch
    in_flight: float  # requests being worked on or waiting, the most at once
    ttft: float | None = None  # seconds to the first token, 95th percentile; None: nobody asked
    tpot: float | None = None  # seconds for each further token, 95th percentile


@dataclass(frozen=True)
class Wanted:
    replicas: int
    cause: Cause
    needed: int  # before floor, ceiling and reserve


def wanted(
    loads: Sequence[Load], scaling: Scaling, *, current: int, now: float, ahead: float = 0.0, share: float = 0.0
) -> Wanted:
    """Replicas from `loads`, oldest first. `current`: those that are ready. `ahead`: seconds until another replica
    answers, which the forecast has to look forward. `share`: of the need that is kept ready above it."""
    if scaling.floor == scaling.ceiling:
        return Wanted(scaling.floor, Cause.FIXED, scaling.floor)
    needed, cause = _needed(loads, scaling, current, now, ahead)
    reserve = max(scaling.reserve, math.ceil(share * needed - _ALIKE))
    count = needed + reserve
    if count <= scaling.floor:
        return Wanted(scaling.floor, Cause.FLOOR, needed)
    if count > scaling.ceiling:
        return Wanted(scaling.ceiling, Cause.CEILING, needed)
    return Wanted(count, cause, needed)


def _needed(loads: Sequence[Load], scaling: Scaling, current: int, now: float, ahead: float) -> tuple[int, Cause]:
    """The most that any of the reasons asks for."""
    if not loads:
        return 0, Cause.LOAD
    answers = [
        (_for(loads[-1].in_flight, scaling), Cause.LOAD),
        (_for_latency(loads[-1], scaling, current), Cause.LATENCY),
        (_for(_forecast(loads, now, ahead), scaling) if ahead else 0, Cause.FORECAST),
        (_lately(loads, scaling, now), Cause.RECENT),
    ]
    return max(answers, key=lambda answer: answer[0])  # the first of equals: what is plainest


def _for(in_flight: float, scaling: Scaling) -> int:
    return math.ceil(in_flight / scaling.target - _ALIKE)


def _for_latency(load: Load, scaling: Scaling, current: int) -> int:
    """Replicas in proportion to how far the latency is above its objective; 0 while it is met."""
    measured = ((load.ttft, scaling.ttft), (load.tpot, scaling.tpot))
    over = max((seen / most for seen, most in measured if seen is not None and most is not None), default=0.0)
    return math.ceil(max(current, 1) * min(over, _MOST_AT_ONCE) - _ALIKE) if over > 1.0 else 0


def _lately(loads: Sequence[Load], scaling: Scaling, now: float) -> int:
    needed = _for(_most(loads, now - scaling.window), scaling)
    if not needed and not scaling.floor:  # the last one stays longer
        return min(1, math.ceil(_most(loads, now - scaling.idle)))
    return needed


def _most(loads: Sequence[Load], since: float) -> float:
    """In flight at once."""
    first = bisect_left(loads, since, key=lambda load: load.at)
    return max((load.in_flight for load in loads[first:]), default=0.0)


def _forecast(loads: Sequence[Load], now: float, ahead: float) -> float:
    """The most in flight until `ahead` seconds from now, by the trend and by yesterday."""
    return max(_by_trend(loads[-_TREND_SPANS:], ahead), _by_yesterday(loads, now, ahead))


def _by_trend(last: Sequence[Load], ahead: float) -> float:
    """The latest span, carried on at the pace of the half of `last` that rose less: one step up is no trend."""
    if len(last) < _TREND_SPANS:
        return 0.0
    half = len(last) // 2
    slope = min(_slope(last[: half + 1]), _slope(last[half:]))
    ahead = min(ahead, last[-1].at - last[0].at)  # no further than it was watched
    return last[-1].in_flight + slope * ahead if slope > 0 else 0.0


def _slope(loads: Sequence[Load]) -> float:
    first, last = loads[0], loads[-1]
    return (last.in_flight - first.in_flight) / (last.at - first.at) if last.at > first.at else 0.0


def _by_yesterday(loads: Sequence[Load], now: float, ahead: float) -> float:
    """What came in the same stretch of yesterday, scaled as the time until now was."""
    then = now - DAY
    coming = _between(loads, then, then + ahead)
    before, today = _between(loads, then - _COMPARED_S, then), _between(loads, now - _COMPARED_S, now)
    if not coming or not before or not today:
        return 0.0
    was = sum(load.in_flight for load in before) / len(before)
    is_now = sum(load.in_flight for load in today) / len(today)
    scale = min(max(is_now / was, _LEAST_SCALE), _MOST_SCALE) if was else 1.0
    return scale * max(load.in_flight for load in coming)


def _between(loads: Sequence[Load], begin: float, end: float) -> Sequence[Load]:
    """Those after `begin`, until `end`."""
    return loads[
        bisect_right(loads, begin, key=lambda load: load.at) : bisect_right(loads, end, key=lambda load: load.at)
    ]
