"""What tests of the Slurm engine share: an engine on the lab, and a machine that dies at a chosen call."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from stoker.engine import Engine, Key, Observation, Order
from stoker.engines.slurm import SlurmEngine, SlurmSettings
from stoker.engines.slurm.machine import CALL_S, File, Here, Part, Program, Ran
from stoker.job import JobSpec, Placement
from tests.labs.slurm import SlurmLab


def on_this_machine(slurm: SlurmLab, folder: Path, **more: object) -> SlurmSettings:
    shared = str(folder / "shared")
    return SlurmSettings(conf=str(slurm.conf), folder=shared, nodes_every=0.5, **more)  # type: ignore[arg-type]


def placed(spec: JobSpec, job: int = 1, *nodes: str, devices: tuple[int, ...] = (), attempt: int = 1) -> Order:
    return Order(
        Key(job, attempt), spec, tuple(Placement(node, devices) for node in nodes or ("gpu0",)), owner="ann"
    )


def comes(engine: Engine, key: Key, wanted: Callable[[Observation], bool], patience: float = 60.0) -> Observation:
    """The first observation of `key` that is `wanted`."""
    until = time.monotonic() + patience
    seen = None
    while time.monotonic() < until:
        seen = engine.states().get(key)
        if seen is not None and wanted(seen):
            return seen
        time.sleep(0.1)
    raise AssertionError(f"{key} is {seen}; log: {engine.logs(key)!r}")


def marks(slurm: SlurmLab, engine: SlurmEngine) -> list[str]:
    """The marks of our jobs that have not ended in Slurm."""
    found = slurm.run("squeue", "-h", "-a", "-o", "%k").splitlines()
    return [mark for mark in found if mark.startswith(f"stoker:{engine.installation}:")]


class Killed(BaseException):
    """The platform was killed at this point."""


class Mortal(Here):
    """This machine, for a platform that is killed at its `calls`-th call: before, after, or while it is under way.

    With `late`, programs that were under way go on for a while, as children of a killed process do.
    """

    def __init__(self, calls: int, moment: str) -> None:
        self._left = calls
        self._moment = moment  # before, half, after, late
        self.late: list[threading.Thread] = []

    def run(self, programs: Sequence[Program], timeout: float = CALL_S) -> list[Ran]:
        return self._die_around(lambda some: Here.run(self, some, timeout), list(programs))

    def put(self, files: Iterable[File]) -> None:
        def do(some: list[File]) -> list[Any]:
            Here.put(self, some)
            return []

        self._die_around(do, list(files))

    def read(self, parts: Sequence[Part]) -> list[bytes]:
        return self._die_around(lambda some: Here.read(self, some), list(parts))

    def _die_around(self, do: Callable[[list[Any]], list[Any]], all_: list[Any]) -> list[Any]:
        self._left -= 1
        if self._left != 0:
            return do(all_)
        if self._moment == "late":
            thread = threading.Timer(1.0, do, (all_,))
            thread.start()
            self.late.append(thread)
        elif self._moment != "before":
            do(all_[: len(all_) // 2] if self._moment == "half" else all_)
        raise Killed
