"""Standing: what a queue holds, has borrowed and waits for at a moment."""

from __future__ import annotations

from dataclasses import dataclass

from stoker.queue import Queue


@dataclass(frozen=True)
class UserStanding:
    tenant: str
    owner: str
    held: float  # devices
    running: int  # jobs
    average: float  # devices held of late, the last half-life weighing most


@dataclass(frozen=True)
class Standing:
    """Quantities are devices; `held`, `waiting` and the jobs count those of the queues below it as well."""

    queue: Queue
    now: Queue  # with the numbers that hold at the moment
    held: float = 0.0
    borrowed: float = 0.0  # of `held`, beyond what it deserves
    waiting: float = 0.0  # what its waiting jobs ask for
    running_jobs: int = 0
    waiting_jobs: int = 0
    average: float = 0.0  # held of late, the last half-life weighing most
    owed: float = 0.0  # device-seconds that it was short of its right lately, and may make up for
    capacity: int = 0  # of the whole pool
    changes_at: float | None = None  # when a window next begins or ends
    users: tuple[UserStanding, ...] = ()
