from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as some

from stoker.console.tail import start_of_tail


@given(some.integers(0, 10_000_000), some.integers(1, 100_000))
@example(0, 1)
@example(100, 100)
@example(101, 100)
def test_the_tail_is_found_in_few_reads(size: int, most: int) -> None:
    reads = 0

    def read(offset: int, limit: int) -> bytes:
        nonlocal reads
        reads += 1
        return b"x" * max(0, min(limit, size - offset))

    assert start_of_tail(read, most) == max(0, size - most)
    assert reads <= 60
