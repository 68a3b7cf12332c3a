"""ForeignJob: what others gave to an engine without us. It is seen, counted and shown, never touched."""

from __future__ import annotations

from dataclasses import dataclass

from stoker.job import JobState


@dataclass(frozen=True)
class Held:
    """What a foreign job holds of one node."""

    node: str
    cpus: int = 0
    memory: int = 0  # bytes
    devices: int = 0
    indexes: tuple[int, ...] = ()  # which devices, where the engine tells; else any `devices` of them

    def __post_init__(self) -> None:
        if self.indexes and len(self.indexes) != self.devices:
            raise ValueError(f"{self.node}: {self.devices} devices, but indexes {self.indexes}")


@dataclass(frozen=True)
class ForeignJob:
    engine: str
    id: str  # as its engine names it: "4127", "team-a/trainer-0"
    name: str
    owner: str
    state: JobState  # PENDING, RUNNING or STOPPING: what has ended is not listed
    held: tuple[Held, ...] = ()  # empty while it waits
    queue: str = ""  # partition or namespace
    submitted_at: float | None = None
    started_at: float | None = None
    nodes: int = 1  # asked for
    devices: int = 0  # asked for, on all nodes
    reason: str = ""  # why it waits, in the engine's word
