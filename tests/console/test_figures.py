from __future__ import annotations

import math

import pytest

from stoker.console import figures


@pytest.mark.parametrize(
    ("seconds", "english", "chinese"),
    [
        (0.05, "50 ms", "50 毫秒"),
        (42, "42 s", "42 秒"),
        (303, "5 min 3 s", "5 分 3 秒"),
        (273600, "3 d 4 h", "3 天 4 小时"),
    ],
)
def test_durations_read_in_both_languages(seconds: float, english: str, chinese: str) -> None:
    assert figures.duration(seconds, "en") == english
    assert figures.duration(seconds, "zh") == chinese


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (9840.4, "9,840"),
        (1.2134, "1.213"),
        (0.0003, "0.0003"),
        (2e-05, "2e-05"),
        (0, "0"),
        (3.0, "3"),
        (math.nan, "NaN"),
        (math.inf, "∞"),
        (None, "–"),
    ],
)
def test_numbers_have_four_digits(value: float | None, text: str) -> None:
    assert figures.number(value) == text


def test_a_part_is_told_in_the_unit_of_the_whole() -> None:
    assert figures.part_of(5 << 30, 25_232_932_864) == "5.0"
    assert figures.part_of(512 << 20, 2 << 40) == "0.0"
    assert figures.part_of(0, 0) == "0"


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.875, "share", "87.5 %"),
        (0.0, "share", "0 %"),
        (1 << 30, "B", "1.0 GiB"),
        (9840.0, "tokens/s", "9,840 tokens/s"),
        ("lora", "", "lora"),
        (None, "s", "–"),
    ],
)
def test_quantities_carry_their_unit(value: float | str | None, unit: str, text: str) -> None:
    assert figures.quantity(value, unit) == text
