"""Calibration finds what made the measurements, and no odd one of them bends it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from stoker.perf.calibrate import Knob, fit

SIZES = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0]


def predict(values: Mapping[str, float], some: Sequence[int]) -> list[float]:
    return [values["start"] + SIZES[i] / values["rate"] for i in some]


KNOBS = [Knob("start", 1.0, 1.0), Knob("rate", 1.0, 1.0)]


def test_it_finds_the_numbers_and_shows_the_error_before_and_after() -> None:
    measured = predict({"start": 0.5, "rate": 3.0}, range(6))
    found = fit(predict, measured, KNOBS, rounds=30)
    assert found.values == pytest.approx({"start": 0.5, "rate": 3.0}, rel=0.02)
    assert max(found.before) > 0.5
    assert max(found.after) < 0.01


def test_one_odd_measurement_bends_little() -> None:
    measured = predict({"start": 0.5, "rate": 3.0}, range(6))
    measured[3] *= 2
    assert fit(predict, measured, KNOBS, rounds=30).values == pytest.approx({"start": 0.5, "rate": 3.0}, rel=0.1)


def test_a_knob_stops_at_its_bound_and_stays_where_nothing_is_known() -> None:
    measured = predict({"start": 0.5, "rate": 3.0}, range(6))
    bounded = [KNOBS[0], Knob("rate", 1.0, 1.0, most=2.0), Knob("unused", 7.0, 0.1, touches=frozenset())]
    found = fit(predict, measured, bounded, rounds=30).values
    assert found["rate"] == pytest.approx(2.0)
    assert found["unused"] == pytest.approx(7.0)
