"""Shelf: the scratch of a stage, and what of it must outlive this node.

Scratch on this machine or on a shared folder outlives a killed attempt by itself. With a depot it is a folder of
the node: what is kept is also put there, in the background, so that another node goes on with it.
"""

from __future__ import annotations

import sys
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from stoker import probe
from stoker.depot import Depot
from stoker.errors import StokerError


@dataclass
class Shelf:
    here: Path
    depot: Depot | None = None  # None: nothing needs to be done
    location: str = ""
    lasts: bool = True  # `here` outlives a killed attempt
    _threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "shelf"))
    _sending: Future[None] | None = None

    def bring(self, name: str) -> None:
        """The last of the folders below `name` that were kept, unless it is here: after a move to another node."""
        if self.depot is None:
            return
        for last in reversed(self.depot.names(f"{self.location}/{name}")):
            place, target = f"{self.location}/{name}/{last}", self.here / name / last
            if self.depot.result(place) is not None:
                if not target.exists():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    self.depot.fetch(place, target)
                return

    def keep(self, name: str) -> None:
        """Let the depot hold the last of the folders below `name`, and no older one. Returns at once.

        The platform is told that the work is saved once it outlives this node.
        """
        self.settle()
        if self.depot is not None:
            self._sending = self._threads.submit(self._keep, self.depot, name)
        elif self.lasts:
            probe.saved()

    def settle(self) -> None:
        """Until nothing is being sent: before what is being sent may be removed here."""
        if self._sending is not None:
            self._sending.result()
            self._sending = None

    def clear(self) -> None:
        """The work is done: nothing of it is kept over there."""
        self.settle()
        if self.depot is not None:
            self.depot.remove(self.location)

    def _keep(self, depot: Depot, name: str) -> None:
        try:
            *_, last = sorted(path.name for path in (self.here / name).iterdir() if not path.name.startswith("."))
            depot.put(self.here / name / last, f"{self.location}/{name}/{last}")
            probe.saved()
            for older in depot.names(f"{self.location}/{name}"):
                if older < last:
                    depot.remove(f"{self.location}/{name}/{older}")
        except StokerError as error:  # the work goes on; the next one may get through
            print(f"stoker: {name} could not be kept for another node: {error}", file=sys.stderr, flush=True)
