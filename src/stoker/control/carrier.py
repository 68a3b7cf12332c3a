"""The carrier: a thread that carries shipments and endpoints on whenever something they wait for has happened."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from stoker.control.changes import Changes

log = logging.getLogger(__name__)

_AFTER_TROUBLE_S = 5.0
_GATHER_S = 0.05  # changes that come together are looked at together


class Carrier:
    """Runs `steps` one after the other; each returns the seconds until it wants to be run again."""

    def __init__(self, changes: Changes, steps: Sequence[Callable[[], float]], *, name: str = "carrier") -> None:
        """A step that may wait for an engine belongs to a carrier of its own, with a `name` of its own."""
        self._changes = changes
        self._steps = steps
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, patience: float | None = None) -> None:
        """Returns when the step under way has ended, or after `patience` seconds."""
        self._stopping.set()
        self._changes.bump()
        if self._thread.is_alive():
            self._thread.join(patience)

    def _run(self) -> None:
        while not self._stopping.is_set():
            seen = self._changes.count
            patience = min(self._step(step) for step in self._steps)
            self._changes.wait(seen, patience)
            self._stopping.wait(_GATHER_S)

    def _step(self, step: Callable[[], float]) -> float:
        try:
            return step()
        except Exception:
            # The outermost loop of the platform's work: one bad shipment must not stop the others' replicas.
            log.exception("could not carry on; trying again in %.0f s", _AFTER_TROUBLE_S)
            return _AFTER_TROUBLE_S
