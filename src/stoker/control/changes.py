"""A counter that is raised whenever something moved, and a way to wait for it."""

from __future__ import annotations

import threading
import time


class Changes:
    def __init__(self, start: int = 0) -> None:
        self._count = start
        self._moved = threading.Condition()

    @property
    def count(self) -> int:
        return self._count

    def bump(self) -> None:
        with self._moved:
            self._count += 1
            self._moved.notify_all()

    def wait(self, since: int, timeout: float) -> int:
        """The count, once it is not `since` any more or after `timeout` seconds."""
        until = time.monotonic() + timeout
        with self._moved:
            while self._count == since and (left := until - time.monotonic()) > 0:
                self._moved.wait(left)
            return self._count
