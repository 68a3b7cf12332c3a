"""Engine: where jobs run. Four verbs and an inventory; further abilities are separate small Protocols.

An engine is handed an Order (a job's attempt with its placement) and is asked, once for all, what became of the
orders it knows. `submit` is idempotent: the same (job, attempt) handed over twice runs once. That is what makes
the platform safe to kill between any two calls: after a restart it simply hands over again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from stoker.cluster import Node
from stoker.job import JobSpec, JobState, Placement


@dataclass(frozen=True)
class Key:
    """What an engine knows an order by."""

    job: int
    attempt: int


@dataclass(frozen=True)
class Order:
    """One attempt of one job, ready to run."""

    key: Key
    spec: JobSpec
    placements: tuple[Placement, ...]
    envs: Mapping[str, str] = field(default_factory=dict)  # set by the platform, on top of spec.envs
    array_id: int | None = None
    array_index: int | None = None
    owner: str = ""


@dataclass(frozen=True)
class Observation:
    """What the engine says of an order now."""

    state: JobState  # STARTING, RUNNING, STOPPING or a final state
    started_at: float | None = None
    ended_at: float | None = None
    exit_code: int | None = None
    reason: str = ""
    message: str = ""


class Engine(Protocol):
    """The required contract. All methods raise errors.Away when the engine does not answer."""

    name: str

    def submit(self, orders: Sequence[Order]) -> Mapping[Key, str]:
        """Start the orders; returns those refused for good, with one line each. Safe to repeat."""

    def states(self) -> Mapping[Key, Observation]:
        """Every order the engine knows, in one call. An order it does not know is absent."""

    def cancel(self, keys: Sequence[Key], *, grace: float) -> None:
        """Ask that these end: SIGTERM, `grace` seconds, SIGKILL. Safe to repeat; unknown keys are ignored."""

    def logs(self, key: Key, *, stream: str = "stdout", offset: int = 0, limit: int = 1 << 20) -> bytes:
        """Up to `limit` bytes of output from byte `offset`; empty when there is no more yet."""

    def inventory(self) -> tuple[Node, ...]:
        """The nodes this engine offers, with their devices."""


@runtime_checkable
class CanForget(Protocol):
    """Engines that keep something for ended orders and can be told to drop it."""

    def forget(self, keys: Sequence[Key]) -> None: ...


@runtime_checkable
class CanProbe(Protocol):
    """Engines that hand back what the job wrote to STOKER_PROBE."""

    def probe(self, key: Key, *, offset: int = 0, limit: int = 1 << 20) -> bytes:
        """Whole lines of the probe file from byte `offset`."""


@runtime_checkable
class CanNotify(Protocol):
    """Engines that tell at once when an order began or ended; the others are asked every few seconds."""

    def notify(self, wake: Callable[[], None]) -> None:
        """Call `wake` (from any thread, cheap) whenever `states` would now answer differently."""
