"""Notices at once when a supervised process began or ended, without asking again and again."""

from __future__ import annotations

import logging
import os
import select
import threading
from collections.abc import Callable

_log = logging.getLogger(__name__)
_READY = select.POLLIN | select.POLLHUP | select.POLLERR


class Watch:
    """One thread that sleeps in poll(2) on a descriptor a process: the pipe it holds, or a pidfd."""

    def __init__(self, told: Callable[[int, bool], None]) -> None:
        """`told(token, ended)` is called from the thread."""
        self._told = told
        self._tokens: dict[int, int] = {}  # descriptor -> token
        self._lock = threading.Lock()
        self._wakes, self._wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="local-engine-watch", daemon=True)
        self._thread.start()

    def add(self, descriptor: int, token: int) -> None:
        """Watch `descriptor` and close it when it ends."""
        with self._lock:
            self._tokens[descriptor] = token
        os.write(self._wake, b"a")

    def stop(self) -> None:
        self._stopping = True
        os.write(self._wake, b"s")
        self._thread.join()
        for descriptor in (*self._tokens, self._wakes, self._wake):
            os.close(descriptor)

    def _run(self) -> None:
        while not self._stopping:
            poll = select.poll()
            poll.register(self._wakes, select.POLLIN)
            with self._lock:
                for descriptor in self._tokens:
                    poll.register(descriptor, _READY)
            for descriptor, _events in poll.poll():
                self._ready(descriptor)

    def _ready(self, descriptor: int) -> None:
        if descriptor == self._wakes:
            os.read(self._wakes, 4096)
            return
        token = self._tokens[descriptor]
        ended = not _still_there(descriptor)
        if ended:
            with self._lock:
                del self._tokens[descriptor]
            os.close(descriptor)
        try:
            self._told(token, ended)
        except Exception:  # noqa: BLE001 -- the outermost loop: without it no job would ever be seen to end again
            _log.exception("the news of an attempt could not be taken in")


def _still_there(descriptor: int) -> bool:
    """Whether a readable `descriptor` had news rather than the end. A pidfd cannot be read: its news is the end."""
    try:
        return bool(os.read(descriptor, 16))
    except OSError:
        return False
