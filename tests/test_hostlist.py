"""Node expressions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.errors import BadInput
from stoker.hostlist import expand, expand_all


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("gpu3", ["gpu3"]),
        ("gpu[2-4]", ["gpu2", "gpu3", "gpu4"]),
        ("gpu[08-10,2]", ["gpu08", "gpu09", "gpu10", "gpu2"]),
        ("r[1-2]n[1-2]", ["r1n1", "r1n2", "r2n1", "r2n2"]),
        ("a, b[1,3].cluster.local", ["a", "b1.cluster.local", "b3.cluster.local"]),
        ("a,a[1-1],a1", ["a", "a1"]),
    ],
)
def test_what_is_meant(text: str, names: list[str]) -> None:
    assert list(expand(text)) == names


@pytest.mark.parametrize(
    "text", ["", "a,", "a[", "a[]", "a]b", "a[1-]", "a[x]", "a b", "a[1-2-3]", "-a", "a\nb", "[[1]]"]
)
def test_what_is_none(text: str) -> None:
    with pytest.raises(BadInput, match="is no node expression"):
        expand(text)


def test_limits() -> None:
    for text in ("a[1-99999]", "a[0-999]b[0-99]", "a[1-9000],b[1-9000]"):
        with pytest.raises(BadInput, match="names more than 10000 nodes"):
            expand(text)
    with pytest.raises(BadInput, match="goes backwards"):
        expand("a[3-1]")
    with pytest.raises(BadInput, match="4097 characters"):
        expand("a" * 4097)


@given(st.text(max_size=40))
def test_any_text_is_names_or_one_line(text: str) -> None:
    try:
        names = expand(text)
    except BadInput:
        return
    assert names
    assert all(name and not set(name) & set("[], \n") for name in names)


def test_several_together() -> None:
    assert expand_all(["a[1-2]", "a2,b"]) == ("a1", "a2", "b")
