"""How people write parts of a job: what is understood, and that every refusal says what to write instead."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.errors import BadInput, StokerError
from stoker.job import Condition, Dependency
from stoker.spelling import (
    Accelerators,
    format_array,
    join_accelerators,
    parse_accelerators,
    parse_array,
    parse_assignments,
    parse_dependencies,
)
from stoker.units import parse_bytes, parse_duration


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8", Accelerators(8)),
        ("0", Accelerators(0)),
        ("H100", Accelerators(1, ("H100",))),
        ("H100:8", Accelerators(8, ("H100",))),
        ("h100=8", Accelerators(8, ("H100",))),
        ("A100-80GB: 4", Accelerators(4, ("A100-80GB",))),
        ("T4:0.5", Accelerators(1, ("T4",), 500)),
        ("0.25", Accelerators(1, (), 250)),
        ("910B:2", Accelerators(2, ("910B",))),
        ("H100|h20:8", Accelerators(8, ("H100", "H20"))),
        ("H100|:8", None),
        ("H100:", None),
        (":8", None),
        ("H100:1.5", None),
        ("", None),
        ("H 100:8", None),
        ("H100:-1", None),
        ("H100:99999999999", None),
        ("H100:0.0001", None),
    ],
)
def test_accelerators(text: str, expected: Accelerators | None) -> None:
    if expected is None:
        with pytest.raises(BadInput, match="write for example"):
            parse_accelerators(text)
    else:
        assert parse_accelerators(text) == expected


def test_choices_of_one_number_join() -> None:
    joined = join_accelerators([parse_accelerators("H20:8"), parse_accelerators("H100:8")])
    assert joined == Accelerators(8, ("H20", "H100"))
    with pytest.raises(BadInput, match="different numbers"):
        join_accelerators([parse_accelerators("H20:8"), parse_accelerators("H100:4")])
    with pytest.raises(BadInput, match="needs a model"):
        join_accelerators([parse_accelerators("8"), parse_accelerators("H100:8")])


@pytest.mark.parametrize(
    ("text", "indices", "limit"),
    [
        ("0-3", (0, 1, 2, 3), 0),
        ("7", (7,), 0),
        ("1,3,5-7", (1, 3, 5, 6, 7), 0),
        ("1-10:2%3", (1, 3, 5, 7, 9), 3),
        ("3-5,4", (3, 4, 5), 0),
    ],
)
def test_arrays(text: str, indices: tuple[int, ...], limit: int) -> None:
    assert parse_array(text) == (indices, limit)


@pytest.mark.parametrize("text", ["", "5-1", "1-", "-3", "a", "1-3:0", "1-3%0", "1-3%", "1;2", "0-4000001", "٣"])
def test_bad_arrays_are_refused(text: str) -> None:
    with pytest.raises(BadInput, match=r"write for example|allowed is"):
        parse_array(text)


def test_a_huge_array_is_refused_before_it_is_expanded() -> None:
    with pytest.raises(BadInput, match="over 100000 elements"):
        parse_array("0-4000000,0-4000000,0-4000000")


@given(st.sets(st.integers(0, 500), min_size=1), st.integers(0, 9))
def test_arrays_are_written_as_they_are_read(indices: set[int], limit: int) -> None:
    ordered = tuple(sorted(indices))
    assert parse_array(format_array(ordered, limit)) == (ordered, limit)


def test_dependencies() -> None:
    assert parse_dependencies("afterok:1:2,afterany:3") == (
        Dependency(1, Condition.AFTER_OK),
        Dependency(2, Condition.AFTER_OK),
        Dependency(3, Condition.AFTER_ANY),
    )
    assert parse_dependencies("12") == (Dependency(12),)


@pytest.mark.parametrize(
    "text", ["", "afterok", "afterok:", "after:1+5", "singleton", "afterok:1?afterany:2", "0", "x:1"]
)
def test_bad_dependencies_are_refused(text: str) -> None:
    with pytest.raises(BadInput, match="dependency"):
        parse_dependencies(text)


def test_assignments() -> None:
    found = parse_assignments(["A=1=2", "B=", "HOME"], environ={"HOME": "/h"}, what="--env")
    assert found == {"A": "1=2", "B": "", "HOME": "/h"}
    for bad in ("=x", "NOT_SET", ""):
        with pytest.raises(BadInput, match="NAME=value"):
            parse_assignments([bad], environ={}, what="--env")


@given(st.text(max_size=30))
def test_whatever_is_written_there_is_an_answer_or_a_refusal(text: str) -> None:
    for parse in (parse_accelerators, parse_array, parse_dependencies):
        with suppress(StokerError):
            parse(text)


@pytest.mark.parametrize(
    "text", ["9" * 400, "²", "1-²", "9" * 400 + "s", "1:" + "9" * 5000, "٣", "", "-", "1-", "s"]
)
def test_no_duration_overflows(text: str) -> None:
    with pytest.raises(BadInput, match="is no duration"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["9" * 400, "1e9", "²G", "G", "1.G", "", "-1G"])
def test_no_size_overflows(text: str) -> None:
    with pytest.raises(BadInput, match="is no size"):
        parse_bytes(text)
