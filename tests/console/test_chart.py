"""Charts are geometry: what is drawn where follows from the samples and the expectation alone."""

from __future__ import annotations

import json
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as some

from stoker.console import chart
from stoker.expectation import Expectation
from stoker.finding import Verdict
from stoker.signal import Sample, Signal


def signal(values: list[float], name: str = "loss", first: int = 1) -> Signal:
    samples = tuple(Sample(1000.0 + at, value, first + at) for at, value in enumerate(values))
    return Signal(name, "", "job/1", samples)


def drawn(values: list[float], name: str = "loss", **rest: object) -> chart.Chart:
    made = chart.chart(signal(values, name), **rest)  # type: ignore[arg-type]
    assert made is not None
    return made


EXPECTED = Expectation("tokens_per_s", 11300, 10700, 11900, "tokens/s", "2 x H20")


def test_expected_stands_beside_measured_with_a_verdict() -> None:
    made = drawn([9840.0, 9840.0], "tokens_per_s", expectation=EXPECTED)
    assert made.verdict is Verdict.DEGRADED
    assert made.share == pytest.approx(0.871, abs=0.001)
    assert made.unit == "tokens/s"
    assert made.band is not None
    assert made.band.top < made.band.line < made.band.top + made.band.height < made.last_top


def test_rates_start_at_zero_so_that_a_share_looks_like_one() -> None:
    assert drawn([9000.0, 9100.0], "tokens_per_s").y_ticks[-1] == "0"


def test_the_axis_runs_to_the_last_step_there_will_be() -> None:
    made = drawn([2.0, 1.0], until=984)
    assert made.x_ticks == (0, 246, 492, 738, 984)
    assert made.last_left < 1


def test_a_spike_survives_thinning() -> None:
    values = [1.0] * 20_000
    values[7777] = 50.0
    points = json.loads(drawn(values).data)
    assert len(points) <= chart.MOST_POINTS
    assert max(point[1] for point in points) == 50.0


def test_after_a_resume_the_later_run_wins() -> None:
    samples = (Sample(1, 3.0, 1), Sample(2, 2.0, 2), Sample(3, 9.0, 3), Sample(4, 1.5, 2), Sample(5, 1.0, 3))
    made = chart.chart(Signal("loss", "", "job/1", samples))
    assert made is not None
    assert [point[:2] for point in json.loads(made.data)] == [[1, 3.0], [2, 1.5], [3, 1.0]]


def test_series_without_steps_run_over_seconds() -> None:
    made = chart.chart(Signal("loss", "", "job/1", (Sample(50, 1.0), Sample(60, 2.0))))
    assert made is not None
    assert not made.by_step
    assert made.x_ticks[-1] == 10


@pytest.mark.parametrize("values", [[], [math.nan], [math.inf, math.nan]])
def test_nothing_finite_draws_nothing(values: list[float]) -> None:
    assert chart.chart(signal(values)) is None


def test_the_mean_of_a_noisy_loss_starts_where_the_loss_starts() -> None:
    made = drawn([5.0] + [1.0] * 40)
    assert made.mean.split("L")[0] == made.line.split("L")[0]


def test_people_look_at_loss_first() -> None:
    assert chart.ordered(["zeta", "mfu", "alpha", "loss"]) == ["loss", "mfu", "alpha", "zeta"]


@pytest.mark.parametrize("values", [[0.0], [5e-324], [7.0, 7.0], [0.0, 5e-324], [1e12, 1e12 + 1e-4], [-3.0]])
def test_a_level_line_has_an_axis_too(values: list[float]) -> None:
    made = drawn(values)
    assert 2 <= len(made.y_ticks) <= chart.TICKS + 3
    assert 0 <= made.last_top <= 100


@given(some.lists(some.floats(-1e12, 1e12), min_size=1, max_size=60), some.integers(0, 10_000))
def test_everything_is_drawn_inside_the_plot(values: list[float], first: int) -> None:
    made = chart.chart(signal(values, first=first))
    assert made is not None
    numbers = [float(text) for text in re.findall(r"-?\d+(?:\.\d+)?(?:e-?\d+)?", made.line.replace("h.01", ""))]
    assert all(-0.01 <= number <= 100.01 for number in numbers)
    assert 2 <= len(made.y_ticks) <= chart.TICKS + 3
