"""Waiting for something to change on the platform, without asking all the time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from stoker.client.connection import Connection
from stoker.errors import Away

T = TypeVar("T")

_LONG_POLL_S = 25.0
_ABSENCE_S = 120.0  # a platform that is being restarted is waited for so long


@dataclass(frozen=True)
class _Change:
    counter: int


def looks(connection: Connection, look: Callable[[], T], *, every: float = _LONG_POLL_S) -> Iterator[T]:
    """What `look` sees now, and again at each change or after `every` seconds, for as long as it is asked.

    Raises Away when the platform has been gone for two minutes.
    """
    counter = 0
    last_answer = time.monotonic()
    while True:
        try:
            now = connection.get(_Change, "/api/v1/changes", timeout=0).counter  # before looking: none is missed
            seen = look()
            last_answer = time.monotonic()
        except Away:
            if time.monotonic() - last_answer > _ABSENCE_S:
                raise
            time.sleep(1.0)
            continue
        yield seen
        counter = now
        _wait(connection, counter, every)


def _wait(connection: Connection, since: int, timeout: float) -> None:
    try:
        connection.get(_Change, "/api/v1/changes", since=since, timeout=timeout)
    except Away:
        time.sleep(1.0)  # the next look tells whether it is gone for good
