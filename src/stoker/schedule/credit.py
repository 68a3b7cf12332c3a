"""Credit: what each queue was short of lately, in device-seconds, so that it is made up for.

What a queue deserves seldom is a whole number of its jobs: with 7 of 8 devices held, a job of 2 has to wait, and
the queue has less than its right for as long. So a queue that holds less than it deserves, while jobs wait for room
that it has a right to, is owed the difference; what it holds beyond pays that back. `Branch` says what it is good
for: the next job may then go beyond what the queue deserves. That is deficit round robin (Shreedhar and Varghese
1995) with devices held over time for bytes sent.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

from stoker.cluster import WHOLE
from stoker.queue import DEFAULT, path_of
from stoker.schedule.branch import MOST_OWED_S
from stoker.schedule.quantity import Quantity
from stoker.schedule.snapshot import Plan, Snapshot

_FOR_ROOM = ("Resources", "Priority")  # reasons for which a right is not met; limits and times are nobody's debt


class _Account(NamedTuple):
    owed: float  # device-seconds
    short: float  # devices: what it grows by; below zero it shrinks
    most: float  # device-seconds


class Credits:
    """It has no clock: it is told of every pass, and takes what that left to hold until the next one."""

    def __init__(self) -> None:
        self._noted: tuple[float, Mapping[str, _Account]] = 0.0, {}

    def at(self, now: float) -> Mapping[str, float]:
        """What queues are owed at `now`, in device-seconds; those that are owed nothing are left out."""
        noted_at, accounts = self._noted
        seconds = max(0.0, now - noted_at)
        owed = {
            name: min(max(0.0, account.owed + account.short * seconds), account.most)
            for name, account in accounts.items()
        }
        return {name: amount for name, amount in owed.items() if amount > 0}

    def note(self, snapshot: Snapshot, plan: Plan) -> None:
        """Go on from `snapshot`, for which `plan` was made and carried out."""
        owed = self.at(snapshot.now)
        accounts = {
            name: _Account(owed.get(name, 0.0), short, deserved * MOST_OWED_S)
            for name, (short, deserved) in _short(snapshot, plan).items()
        }
        self._noted = snapshot.now, accounts


def _short(snapshot: Snapshot, plan: Plan) -> Mapping[str, tuple[float, float]]:
    """By queue how many devices it lacks of its right, below zero those it holds beyond; and what it deserves."""
    queues = {queue.name: queue for queue in snapshot.queues}
    if not queues:
        return {}
    quantity = Quantity(snapshot.nodes, ())
    held: dict[str, int] = defaultdict(int)
    asked: dict[str, int] = defaultdict(int)
    for job in snapshot.active:
        held[job.spec.queue] += quantity.held(job.spec, job.engine, job.placements).milli
    for start in plan.starts:
        held[start.job.spec.queue] += quantity.held(start.job.spec, start.engine, start.placements).milli
    for job in snapshot.pending:
        wait = plan.waits.get(job.id)
        if wait is not None and wait.reason in _FOR_ROOM:
            asked[job.spec.queue] += quantity.asked(job.spec)
    of: dict[str, list[int]] = {name: [0, 0] for name in queues}
    for name in {*held, *asked}:
        for queue in path_of(name if name in queues else DEFAULT, queues):
            of[queue.name][0] += held[name]
            of[queue.name][1] += asked[name]
    found: dict[str, tuple[float, float]] = {}
    for name, (has, wants) in of.items():
        deserved = queues[name].at(snapshot.now).deserved
        found[name] = (min(deserved, (has + wants) / WHOLE) - has / WHOLE, deserved)
    return found
