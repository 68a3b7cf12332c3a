"""Engine: where jobs run. Four verbs and an inventory; further abilities are separate small Protocols.

An engine is handed an Order (a job's attempt with its placement) and is asked, once for all, what became of the
orders it knows. `submit` is idempotent: the same (job, attempt) handed over twice runs once. That is what makes
the platform safe to kill between any two calls: after a restart it simply hands over again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from stoker.cluster import Node
from stoker.foreign import ForeignJob
from stoker.job import JobSpec, JobState, Placement


@dataclass(frozen=True)
class Key:
    """What an engine knows an order by."""

    job: int
    attempt: int


@dataclass(frozen=True)
class Order:
    """One attempt of one job, ready to run.

    The engine brings two things from the platform's machine to every node the job runs on, before it begins:

    `package` is unpacked (tarfile's ``data`` filter) into a folder of the job, which becomes its working folder; a
    relative `spec.workdir` counts from there. One that cannot be unpacked is the attempt's own failure.

    `files` lie under their names, a few KiB each, in the folder that ``STOKER_FILES`` names in the job's
    environment. They may be secrets: mode 0600 in a folder of mode 0700 (on Kubernetes a Secret), never in an
    argument list, an environment, a log or a label, and gone when the order is forgotten at the latest.
    """

    key: Key
    spec: JobSpec
    placements: tuple[Placement, ...]
    envs: Mapping[str, str] = field(default_factory=dict)  # set by the platform, on top of spec.envs
    array_id: int | None = None
    array_index: int | None = None
    owner: str = ""
    package: Path | None = None  # a .tar.gz on the platform's machine: see `Order`
    files: Mapping[str, Path] = field(default_factory=dict)  # name -> small file on the platform's machine


@dataclass(frozen=True)
class Observation:
    """What the engine says of an order now. Of one that waits in the engine, `reason` is the engine's own word."""

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
        """Ask that these end: SIGTERM, `grace` seconds, SIGKILL. Safe to repeat; unknown keys are ignored.

        With a `grace` above the order's own, one that has a `checkpoint_signal` gets that at once, and SIGTERM when
        its own grace is left. Of a job's processes those get it that handle it: it would end the others.
        """

    def logs(self, key: Key, *, stream: str = "stdout", offset: int = 0, limit: int = 1 << 20) -> bytes:
        """Up to `limit` bytes of output from byte `offset`; empty when there is no more yet."""

    def inventory(self) -> tuple[Node, ...]:
        """The nodes this engine offers, with their devices."""

    def close(self) -> None:
        """Let go of threads and connections. The jobs go on."""


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
class CanTellSaves(Protocol):
    """Engines that can be told, by what touches the file STOKER_SAVED names, that a job's work so far is safe."""

    def saved(self, keys: Sequence[Key]) -> Mapping[Key, float]:
        """When each of `keys` last told so, seconds since the epoch; who never did is absent.

        One question to the engine's system, however many keys there are. Raises Away.
        """


@runtime_checkable
class CanNotify(Protocol):
    """Engines that tell at once when an order began or ended; the others are asked every few seconds."""

    def notify(self, wake: Callable[[], None]) -> None:
        """Call `wake` (from any thread, cheap) whenever `states` would now answer differently."""


@runtime_checkable
class CanSeeOthers(Protocol):
    """Engines that other people use too."""

    def others(self) -> tuple[ForeignJob, ...]:
        """What others run and wait for there. Asks nobody: it is what the last `states` or `inventory` saw."""


@runtime_checkable
class CanConnect(Protocol):
    """Engines whose jobs do not listen on this machine."""

    def connect(self, key: Key, port: int) -> tuple[str, int]:
        """Host and port at which this machine reaches what the order's first node listens on at `port`.

        Opens a tunnel where one is needed, and finds it again when asked again. Raises Away.
        """


@runtime_checkable
class CanDrain(Protocol):
    """Engines that can keep new work away from a node. They sign their drains as this platform's."""

    def drain(self, node: str, reason: str) -> None:
        """No new work from now on; what runs goes on. Safe to repeat. Raises NotFound, Away.

        A node that somebody else drained stays theirs, with their reason.
        """

    def undrain(self, node: str, reason: str) -> None:
        """Take back our own drain, made for `reason`; a node that is open stays so. Raises NotFound, Away, and
        Conflict where the node is drained by somebody else: not ours."""
