"""Where the end of a log is, when all one can do is read from an offset."""

from __future__ import annotations

from collections.abc import Callable

Read = Callable[[int, int], bytes]  # (offset, limit) -> bytes; empty beyond the end


def start_of_tail(read: Read, most: int) -> int:
    """The offset from which at most about `most` bytes are left; 0 for a log that is not longer.

    Doubles until it is beyond the end, then halves: a log of 1 GB takes some 30 reads of one byte.
    """
    if not read(most, 1):
        return 0
    low, high = most, 2 * most
    while read(high, 1):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if read(middle, 1) else (low, middle)
    return high - most
