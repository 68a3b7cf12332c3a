"""Queue: whose jobs may hold how many devices for certain, what they may borrow, and how long they wait at most.

Queues form a tree, tenants above teams. Words as in Run:ai and KAI: a queue *deserves* its quota, what it holds
beyond is *over quota*: borrowed from those who leave it, shared by *weight*, and taken back when they want it.
Quantities are in devices; half a device counts a half.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from stoker.errors import BadInput, near
from stoker.queue_window import Window, parse_when
from stoker.typed import strict

DEFAULT = "default"  # the queue of jobs that name none
EVERYBODY = "*"  # in `tenants`
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")
_MOST = 1e9  # devices, and weight
_LONGEST_S = 366 * 86400.0
_DEEPEST = 8


class Preemptible(StrEnum):
    """For whom the jobs of a queue may be ended before they are done."""

    ANYBODY = "anybody"  # for higher priorities in the queue, and for queues that take back what it borrowed
    OWN = "own"  # only for higher priorities in the queue itself
    NOBODY = "nobody"


@strict
@dataclass(frozen=True)
class Queue:
    """As an administrator sets it."""

    name: str
    parent: str = ""  # the queue whose quota it is part of: a tenant's, over its teams'
    tenants: tuple[str, ...] = ()  # whose users may use it, "*" for all; empty: as its parent, without one all
    deserved: float = 0.0  # devices it has for certain, of whatever model
    deserved_of: Mapping[str, float] = field(default_factory=dict)  # model -> devices, within `deserved`
    weight: float = 1.0  # its part of what nobody claims, against its siblings'; 0: it borrows nothing
    ceiling: float | None = None  # devices it never goes beyond; None: no bound
    ceiling_of: Mapping[str, float] = field(default_factory=dict)  # model -> devices
    user_devices: float | None = None  # devices that one user holds here at most
    user_jobs: int | None = None  # jobs of one user that run here at most
    preemptible: Preemptible = Preemptible.ANYBODY
    fair_users: bool = True  # among equal priorities who had least goes first; else who came first
    half_life: float = 7 * 86400.0  # seconds after which what was used counts half
    patience: float | None = 86400.0  # seconds; who has waited longer goes first in the queue; None: never
    windows: tuple[Window, ...] = ()  # spans of the week in which other numbers hold; the first that fits counts
    timezone: str = "UTC"  # of `windows`, as in "Asia/Shanghai"
    partition: str = ""  # of Slurm clusters that its jobs go to; empty: the cluster's own choice

    def __post_init__(self) -> None:
        if not _NAME.match(self.name):
            raise BadInput(
                f"{self.name!r} is no name of a queue: 1 to 63 letters, digits, dots, dashes and underscores",
                param="name",
            )
        if self.parent == self.name:
            raise BadInput(f'queue "{self.name}" cannot be its own parent', param="parent")
        self._check_numbers()
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise BadInput(f'timezone "{self.timezone}" is unknown; write for example Asia/Shanghai') from None
        for window in self.windows:
            parse_when(window.when)
            self.in_window(window)  # its numbers together with ours must be sound as well

    def _check_numbers(self) -> None:
        for name, value in _numbers(self):
            if value is not None and not 0 <= value <= _MOST:
                raise BadInput(f"{name} of {value:g} was given; allowed is 0 and more", param=name)
        if self.deserved_of and sum(self.deserved_of.values()) > self.deserved:
            raise BadInput(
                f"deserved_of adds up to {sum(self.deserved_of.values()):g}, more than deserved"
                f" ({self.deserved:g}); raise deserved",
                param="deserved_of",
            )
        if self.ceiling is not None and self.ceiling < self.deserved:
            raise BadInput(
                f"a ceiling of {self.ceiling:g} is below the {self.deserved:g} deserved; raise it or lower those",
                param="ceiling",
            )
        if not 60 <= self.half_life <= _LONGEST_S:
            raise BadInput(f"half_life of {self.half_life:g} s was given; allowed is 1 minute to a year")
        if self.patience is not None and not 0 <= self.patience <= _LONGEST_S:
            raise BadInput(f"patience of {self.patience:g} s was given; allowed is up to a year", param="patience")

    @property
    def asks_models(self) -> bool:
        """Whether any of its numbers is of a model, now or in a window."""
        parts = [self.deserved_of, self.ceiling_of]
        return any((*parts, *(of for window in self.windows for of in (window.deserved_of, window.ceiling_of))))

    def at(self, now: float) -> Queue:
        """The queue with the numbers that hold at `now`, seconds since the epoch."""
        return next((self.in_window(one) for one in self.windows if one.holds(now, self.timezone)), self)

    def in_window(self, window: Window) -> Queue:
        """The queue with the numbers of `window`."""
        return replace(self, **window.numbers(), windows=())

    def next_change(self, now: float) -> float:
        """When a window next begins or ends; infinite without windows."""
        return min((window.next_edge(now, self.timezone) for window in self.windows), default=math.inf)


def _numbers(queue: Queue) -> Iterable[tuple[str, float | None]]:
    yield from ((name, getattr(queue, name)) for name in ("deserved", "weight", "ceiling"))
    yield from (("user_devices", queue.user_devices), ("user_jobs", queue.user_jobs))
    yield from (("deserved_of", value) for value in queue.deserved_of.values())
    yield from (("ceiling_of", value) for value in queue.ceiling_of.values())


def check_tree(queues: Collection[Queue]) -> None:
    """Raises BadInput where a parent is missing, queues stand in a circle, or children deserve more than theirs."""
    by_name = {queue.name: queue for queue in queues}
    for queue in queues:
        if queue.parent and queue.parent not in by_name:
            raise BadInput(
                f'queue "{queue.name}" has the parent "{queue.parent}", which does not exist'
                f"{near(queue.parent, by_name.keys() - {queue.name})}",
                param="parent",
            )
        _check_depth(queue, by_name)
    for parent in {queue.parent for queue in queues if queue.parent}:
        _check_children(by_name[parent], [queue for queue in queues if queue.parent == parent])


def _check_depth(queue: Queue, by_name: Mapping[str, Queue]) -> None:
    seen = [queue.name]
    while queue.parent:
        queue = by_name.get(queue.parent) or Queue(DEFAULT)
        seen.append(queue.name)
        if queue.name in seen[:-1]:
            raise BadInput(f"the queues {' -> '.join(seen)} are each other's parents", param="parent")
        if len(seen) > _DEEPEST:
            raise BadInput(f"queues stand {len(seen)} deep; allowed are {_DEEPEST}", param="parent")


def _check_children(parent: Queue, children: Collection[Queue]) -> None:
    total = sum(child.deserved for child in children)
    if total > parent.deserved:
        raise BadInput(
            f'the queues in "{parent.name}" deserve {total:g} devices together, "{parent.name}" has'
            f" {parent.deserved:g}; raise its deserved to {total:g}",
            param="deserved",
        )


def tenants_of(queue: Queue, by_name: Mapping[str, Queue]) -> tuple[str, ...]:
    """Whose users may use `queue`, inherited from above where it does not say; empty where nobody is named."""
    while not queue.tenants and queue.parent in by_name:
        queue = by_name[queue.parent]
    return queue.tenants


def may_use(queue: Queue, tenant: str, by_name: Mapping[str, Queue]) -> bool:
    """Whether users of `tenant` may give jobs to `queue`."""
    named = tenants_of(queue, by_name)
    return not named or tenant in named or EVERYBODY in named


def leaves_of(by_name: Mapping[str, Queue]) -> list[Queue]:
    """Those without queues below them: they take jobs."""
    parents = {queue.parent for queue in by_name.values()}
    return [queue for queue in by_name.values() if queue.name not in parents]


def in_order(by_name: Mapping[str, Queue]) -> list[Queue]:
    """Parents before their children, by name."""
    children: dict[str, list[Queue]] = defaultdict(list)
    for queue in sorted(by_name.values(), key=lambda queue: queue.name):
        children[queue.parent if queue.parent in by_name else ""].append(queue)

    def below(name: str) -> Iterable[Queue]:
        for queue in children.get(name, ()):
            yield queue
            yield from below(queue.name)

    return list(below(""))


def depth(queue: Queue, by_name: Mapping[str, Queue]) -> int:
    """How many queues are above it."""
    return 1 + depth(by_name[queue.parent], by_name) if queue.parent in by_name else 0


def path_of(name: str, by_name: Mapping[str, Queue]) -> list[Queue]:
    """The queue `name` and those above it."""
    found = []
    while queue := by_name.get(name):
        found.append(queue)
        name = queue.parent
    return found


# Queue and user (tenant, owner) -> device-seconds as of a moment, each halved for every half-life it is old.
Usage = Mapping[tuple[str, tuple[str, str]], float]


def decayed(used: float, seconds: float, half_life: float) -> float:
    """What of `used` still counts after `seconds`."""
    return used * math.exp2(-seconds / half_life)


def accrued(devices: float, seconds: float, half_life: float) -> float:
    """Device-seconds of `devices` held over the last `seconds`, decayed: the integral of 2^(-t/half_life)."""
    return devices * half_life / math.log(2) * -math.expm1(-seconds / half_life * math.log(2))


def average(used: float, half_life: float) -> float:
    """Devices held on average, the last half-life weighing most: who holds n for ever comes to n."""
    return used * math.log(2) / half_life
