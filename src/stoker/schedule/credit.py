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
from types import MappingProxyType
from typing import NamedTuple

from stoker.cluster import WHOLE
from stoker.queue import DEFAULT, path_of
from stoker.schedule.branch import MOST_OWED_S
from stoker.schedule.quantity import Quantity
from stoker.schedule.snapshot import Plan, Snapshot

_FOR_ROOM = ("Resources", "Priority")  # reasons for which a right is not met; limits and times are nobody's debt


class Credit(NamedTuple):
    """One queue's account as of `at`, and how it goes on from there. Times in seconds since the epoch."""

    at: float
    owed: float  # device-seconds
    short: float  # devices: what it grows by; below zero it shrinks
    most: float  # device-seconds

    def then(self, now: float) -> float:
        """Device-seconds that are owed at `now`."""
        return min(max(0.0, self.owed + self.short * max(0.0, now - self.at)), self.most)


class Credits:
    """It has no clock: it is told of every pass, and takes what that left to hold until the next one.

    An account is replaced only when its course changes. So `accounts` are what has to be kept over a restart, and
    stay the same, to the last digit of what they say of any moment, while nothing happens.
    """

    def __init__(self, accounts: Mapping[str, Credit] = MappingProxyType({})) -> None:
        self.accounts = accounts  # queues that are owed nothing, and lack nothing, are left out

    def at(self, now: float) -> Mapping[str, float]:
        """What queues are owed at `now`, in device-seconds; those that are owed nothing are left out."""
        owed = {name: account.then(now) for name, account in self.accounts.items()}
        return {name: amount for name, amount in owed.items() if amount > 0}

    def note(self, snapshot: Snapshot, plan: Plan) -> None:
        """Go on from `snapshot`, for which `plan` was made and carried out."""
        owed, accounts = self.at(snapshot.now), {}
        for name, (short, deserved) in _short(snapshot, plan).items():
            before, most = self.accounts.get(name), deserved * MOST_OWED_S
            if name not in owed and short <= 0:
                continue
            goes_on = before is not None and (before.short, before.most) == (short, most)
            accounts[name] = (
                before if before and goes_on else Credit(snapshot.now, owed.get(name, 0.0), short, most)
            )
        self.accounts = accounts


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
