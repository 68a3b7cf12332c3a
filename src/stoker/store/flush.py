"""Flush: bring SQLite's log to the disk, now or soon after a commit."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

_log = logging.getLogger(__name__)
_SECONDS = 0.5  # what a power cut may cost of what was acknowledged to nobody; a killed process loses nothing


class Flush:
    """A thread that sleeps until something was written."""

    def __init__(self, log: Path) -> None:
        """`log`: the ``-wal`` file. Opening it besides SQLite is safe: SQLite's locks are on its other files."""
        self._path = log
        self._written = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="database-flush", daemon=True)
        self._thread.start()

    def now(self) -> None:
        """Returns when everything committed so far is on the disk."""
        self._flush()

    def soon(self) -> None:
        self._written.set()

    def stop(self) -> None:
        self._stopping.set()
        self._written.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._written.wait()
            self._stopping.wait(_SECONDS)  # what is written meanwhile goes with it
            self._written.clear()
            self._flush()

    def _flush(self) -> None:
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return  # checkpointed and removed: it is all in the database file
        try:
            os.fdatasync(descriptor)
        except OSError as error:
            _log.error("the disk of %s reports: %s", self._path, error.strerror)
        finally:
            os.close(descriptor)
