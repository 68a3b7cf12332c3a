"""How many replicas: up at once, down slowly, never outside the bounds."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.endpoint import Scaling
from stoker.errors import BadInput
from stoker.schedule.lend import DAY, Cause, Load, Wanted, wanted

NOW = 1_000_000.0
SCALING = Scaling(floor=1, ceiling=8, target=4.0, window=300.0)


def loads(*in_flight: float, every: float = 60.0) -> list[Load]:
    """The last of them ends now."""
    return [Load(NOW - every * back, load) for back, load in enumerate(reversed(in_flight))][::-1]


def decided(seen: Sequence[Load], scaling: Scaling = SCALING, current: int = 1, **more: float) -> Wanted:
    return wanted(seen, scaling, current=current, now=NOW, **more)


def test_a_rise_is_followed_at_once() -> None:
    assert decided(loads(1, 1, 17)) == Wanted(5, Cause.LOAD, 5)


def test_a_fall_is_followed_only_after_the_window() -> None:
    assert decided(loads(17, 0, 0)) == Wanted(5, Cause.RECENT, 5)
    assert decided(loads(17, 0, 0, 0, 0, 0, 0)) == Wanted(1, Cause.FLOOR, 0)


def test_nothing_is_known_yet() -> None:
    assert decided([]) == Wanted(1, Cause.FLOOR, 0)


def test_the_ceiling_holds_and_is_told() -> None:
    assert decided(loads(100)) == Wanted(8, Cause.CEILING, 25)


def test_a_fixed_number_asks_nobody() -> None:
    assert decided(loads(100), Scaling(3, 3)) == Wanted(3, Cause.FIXED, 3)


def test_latency_above_its_objective_asks_for_more_than_the_load_does() -> None:
    seen = [Load(NOW, 3.0, ttft=1.5)]
    assert decided(seen, Scaling(1, 8, 4.0, ttft=1.0), current=2) == Wanted(3, Cause.LATENCY, 3)
    assert decided(seen, Scaling(1, 8, 4.0, ttft=2.0), current=2).cause is Cause.FLOOR


def test_one_very_slow_answer_doubles_at_most() -> None:
    assert decided([Load(NOW, 1.0, ttft=99.0)], Scaling(1, 8, ttft=1.0), current=3).replicas == 6


def test_the_trend_is_looked_forward() -> None:
    assert decided(loads(4, 8, 12, 16, 20), ahead=120.0) == Wanted(7, Cause.FORECAST, 7)


@pytest.mark.parametrize("since", [1, 2, 3, 4])
def test_a_step_is_no_trend(since: int) -> None:
    """Load that has gone up once and stays there needs what it needs, however short ago that was."""
    assert decided(loads(*([8] * (5 - since)), *([24] * since)), ahead=120.0) == Wanted(6, Cause.LOAD, 6)


def test_yesterday_tells_what_comes_scaled_to_today() -> None:
    """Twice yesterday's load until now, so twice what followed then."""
    yesterday = [Load(NOW - DAY + 60.0 * minute, 12.0 if minute > 5 else 4.0) for minute in range(-30, 30)]
    today = [Load(NOW - 60.0 * back, 8.0) for back in range(30, -1, -1)]
    assert decided([*yesterday, *today], ahead=600.0) == Wanted(6, Cause.FORECAST, 6)
    assert decided([*yesterday, *today], ahead=120.0).replicas == 2


def test_a_reserve_is_kept_ready_above_the_need() -> None:
    assert decided(loads(8), Scaling(1, 8, 4.0, reserve=2)).replicas == 4
    assert decided(loads(12), share=0.3).replicas == 4


def test_the_last_replica_goes_when_nobody_has_asked_for_the_idle_time() -> None:
    scaling = Scaling(0, 8, 4.0, window=60.0, idle=240.0)
    assert decided(loads(1), scaling) == Wanted(1, Cause.LOAD, 1)
    assert decided(loads(9, 0, 0), scaling) == Wanted(1, Cause.RECENT, 1)
    assert decided(loads(9, 0, 0, 0, 0), scaling).replicas == 1
    assert decided(loads(9, 0, 0, 0, 0, 0), scaling) == Wanted(0, Cause.FLOOR, 0)
    assert decided(loads(0), Scaling(0, 8, reserve=1)).replicas == 1


@pytest.mark.parametrize(
    "bounds",
    [
        {"floor": -1},
        {"floor": 0, "ceiling": 0},
        {"floor": 3, "ceiling": 2},
        {"target": 0.0},
        {"reserve": -1},
        {"idle": -1.0},
        {"hold": 4000.0},
    ],
)
def test_senseless_bounds_are_refused(bounds: dict[str, float]) -> None:
    with pytest.raises(BadInput):
        Scaling(**bounds)  # type: ignore[arg-type]


@given(
    history=st.lists(st.floats(0, 1000), max_size=40),
    floor=st.integers(0, 5),
    more=st.integers(0, 5),
    ahead=st.sampled_from([0.0, 300.0, 7200.0]),
)
def test_bounds_hold_and_more_load_never_wants_fewer(
    history: list[float], floor: int, more: int, ahead: float
) -> None:
    scaling = Scaling(floor, max(1, floor + more), target=7.0)
    seen = loads(*history)
    told = decided(seen, scaling, ahead=ahead)
    assert scaling.floor <= told.replicas <= scaling.ceiling
    assert told == decided(seen, scaling, ahead=ahead)
    if seen and not ahead:
        busier = [*seen[:-1], Load(NOW, seen[-1].in_flight + 10.0)]
        assert decided(busier, scaling).replicas >= told.replicas
