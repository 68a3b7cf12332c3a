"""Branch: a queue during one pass, with what it and those below it hold, and which of its jobs is next."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from stoker.cluster import WHOLE
from stoker.job import Job, JobSpec
from stoker.queue import Queue
from stoker.schedule.lane import Lane
from stoker.schedule.snapshot import Wait

User = tuple[str, str]  # tenant and owner

MADE_UP_S = 900.0  # that a queue has to be short of a device for each that it then holds beyond its right
MOST_OWED_S = 3600.0  # of all that a queue deserves
_NO_BOUND = 1 << 62
_LEAST_FACTOR = 2.0**-60


class Held(NamedTuple):
    """Thousandths of devices."""

    milli: int
    of: Mapping[str, int]  # by model in small letters; empty where no quota asks for it


class Owed(NamedTuple):
    """What is kept of a quota for a job that has waited too long."""

    job: int
    milli: int
    at: float  # seconds since the epoch; when it begins at the latest


class Branch:
    """Thousandths of devices throughout. Only leaves have jobs of their own."""

    def __init__(
        self, queue: Queue, parent: Branch | None, size: Callable[[JobSpec], int], *, implied: bool = False
    ) -> None:
        """`implied`: nobody has set it up; it stands for everything and nothing."""
        self.queue = queue
        self.path: tuple[Branch, ...] = (self, *(parent.path if parent else ()))
        self.children: list[Branch] = []
        self.lane = Lane(queue, size)
        self.held = 0
        self.held_of: dict[str, int] = {}
        self.users: dict[User, list[int]] = {}  # thousandths held, jobs
        self.deserved = _NO_BOUND if implied else _milli(queue.deserved)
        self._deserved_of = _by_model(queue.deserved_of)
        self._ceiling = _NO_BOUND if queue.ceiling is None else _milli(queue.ceiling)
        self._ceiling_of = _by_model(queue.ceiling_of)
        self._user_milli = _NO_BOUND if queue.user_devices is None else _milli(queue.user_devices)
        self._user_jobs = _NO_BOUND if queue.user_jobs is None else queue.user_jobs
        self.owed: Owed | None = None
        self.credit = 0.0  # thousandths of devices times seconds that it was short of lately
        self.wake_in = math.inf  # seconds until its credit has grown or shrunk so far that it matters
        self.factor = 1.0  # of its weight, from what it has had lately
        self._heap: list[tuple[tuple[float, ...], int, Branch]] = []
        self._last: tuple[int, Branch] | None = None
        limited = bool(
            self._ceiling_of
            or queue.weight == 0
            or min(self._ceiling, self._user_milli, self._user_jobs) < _NO_BOUND
        )
        # Those of its path that may refuse something, and those that bound models.
        self.limits: tuple[Branch, ...] = (*([self] if limited else ()), *(parent.limits if parent else ()))
        self.bounded = tuple(branch for branch in self.limits if branch._ceiling_of)  # noqa: SLF001 - one of us
        if parent:
            parent.children.append(self)

    # what is held

    def hold(self, user: User, held: Held, jobs: int) -> None:
        """Note it here and above; negative numbers give back."""
        for branch in self.path:
            branch.held += held.milli
            for model, milli in held.of.items():
                branch.held_of[model] = branch.held_of.get(model, 0) + milli
            mine = branch.users.setdefault(user, [0, 0])
            mine[0] += held.milli
            mine[1] += jobs

    def over(self, without: Sequence[Held] = (), of: Mapping[str, int] | None = None) -> int:
        """Thousandths beyond what it deserves, when those `without` are given back: of all models, or of one in
        `of`, whichever is more."""
        most = self.held - sum(held.milli for held in without) - self.deserved
        for model in of or ():
            if model in self._deserved_of:
                back = sum(held.of.get(model, 0) for held in without)
                most = max(most, self.held_of.get(model, 0) - back - self._deserved_of[model])
        return max(0, most)

    def within(self, milli: int, models: Sequence[str]) -> bool:
        """Whether it has a right to so much more, of one of `models`: would still hold no more than it deserves, or
        is owed enough for what goes beyond."""
        if self.held + milli > self.deserved and not self._made_up(milli):
            return False
        if not self._deserved_of or not models or not milli:
            return True
        return any(_room(self._deserved_of, self.held_of, model.lower()) >= milli for model in models)

    def _made_up(self, milli: int) -> bool:
        """Whether what it is owed pays for going beyond what it deserves, which it does not hold in full."""
        if self.held >= self.deserved or milli > self.deserved:
            return False
        lacking = (self.held + milli - self.deserved) * MADE_UP_S - self.credit
        if lacking > 0:
            self.wake_in = min(self.wake_in, lacking / (self.deserved - self.held))
        return lacking <= 0

    def pays_back(self, to: Branch, without: Sequence[Held] = (), of: Mapping[str, int] | None = None) -> bool:
        """Whether it holds more than it deserves (see `over`), and is not owed that, or `to` is owed far more."""
        over = self.over(without, of)
        if over <= 0 or self.credit <= 0:
            return over > 0
        lead = self.owed_s + MADE_UP_S - to.owed_s
        if lead > 0:
            lacking = max(0.0, 1.0 - to.held / to.deserved) if to.deserved else 0.0
            self.wake_in = min(self.wake_in, self.credit / over, lead / (over / self.deserved + lacking))
        return lead <= 0

    @property
    def owed_s(self) -> float:
        """What it is owed, in seconds of all that it deserves."""
        return self.credit / self.deserved if self.deserved else 0.0

    def below_common(self, other: Branch) -> tuple[Branch, ...]:
        """Those of its path that `other` is not part of."""
        theirs = set(other.path)
        return tuple(branch for branch in self.path if branch not in theirs)

    # what it refuses

    def keeps(self, job: Job, milli: int, now: float) -> Wait | None:
        """Why `job` may not have what is kept for one that has waited too long; None: it may, or wants none."""
        ends = now + (job.spec.time_limit or math.inf) + job.spec.grace
        for branch in self.path:
            owed = branch.owed
            if owed is None or not milli or ends <= owed.at or job.id == owed.job:
                continue
            if branch.held + milli + owed.milli > branch.deserved:
                told = f'job {owed.job} has waited too long; queue "{branch.queue.name}" keeps room for it'
                return Wait("Priority", told, {"kept_for": owed.job, "queue": branch.queue.name})
        return None

    def refuses(self, job: Job, milli: int) -> Wait | None:
        for branch in self.limits:
            if (wait := branch._refuses(job, milli)) is not None:  # noqa: SLF001 - one of us
                return wait
        return None

    def _refuses(self, job: Job, milli: int) -> Wait | None:
        name = self.queue.name
        if milli and self.held + milli > self._ceiling:
            told = f"may hold {_devices(self._ceiling)} devices and holds {_devices(self.held)}"
            values = _values("ceiling", name, self._ceiling, self.held, milli)
            return Wait("AssocGrpGRES", f'queue "{name}" {told}; this job wants {_devices(milli)}', values)
        if milli and self.queue.weight == 0 and self.held + milli > self.deserved:
            told = f"borrows nothing and holds {_devices(self.held)} of the {_devices(self.deserved)} it deserves"
            values = _values("deserved", name, self.deserved, self.held, milli)
            return Wait("AssocGrpGRES", f'queue "{name}" {told}; this job wants {_devices(milli)}', values)
        if self._ceiling_of and milli and job.spec.resources.models and not self._roomy(job.spec, milli):
            asked = " or ".join(job.spec.resources.models)
            values = {"limit": "models", "queue": name, "models": asked}
            return Wait("AssocGrpGRES", f'queue "{name}" holds as many {asked} as it may', values)
        return self._refuses_user(job, milli)

    def _refuses_user(self, job: Job, milli: int) -> Wait | None:
        held, jobs = self.users.get((job.tenant, job.owner), _NOTHING)
        if milli and held + milli > self._user_milli:
            told = f"{job.owner} holds {_devices(held)} of the {_devices(self._user_milli)} devices"
            values = _values("user_devices", self.queue.name, self._user_milli, held, milli)
            return Wait("QOSMaxGRESPerUser", f'{told} that one user may in queue "{self.queue.name}"', values)
        if jobs >= self._user_jobs:
            told = f"{job.owner} has {jobs} jobs running"
            told += f', as many as one user may in queue "{self.queue.name}"'
            values = {"limit": "user_jobs", "queue": self.queue.name, "held": jobs}
            return Wait("QOSMaxJobsPerUserLimit", told, values)
        return None

    def _roomy(self, spec: JobSpec, milli: int) -> list[str]:
        """Those models that the job names of which there may be so much more."""
        return [
            model
            for model in spec.resources.models
            if _room(self._ceiling_of, self.held_of, model.lower()) >= milli
        ]

    def narrowed(self, spec: JobSpec, milli: int, models: tuple[str, ...]) -> JobSpec:
        """`spec` for those models only of which every queue above may have more; `models` are those of the pool."""
        if not milli:
            return spec
        asked = spec if spec.resources.models else replace(spec, resources=replace(spec.resources, models=models))
        allowed = tuple(
            model
            for model in asked.resources.models
            if all(_room(one._ceiling_of, one.held_of, model.lower()) >= milli for one in self.bounded)  # noqa: SLF001
        )
        if allowed == asked.resources.models:
            return spec
        return replace(spec, resources=replace(spec.resources, models=allowed or ("none",)))

    # who is next

    def sort(self) -> None:
        self.lane.sort(self.users)
        for at, child in enumerate(self.children):
            child.sort()
            if child.waiting:
                self._heap.append((child.key(), at, child))
        heapq.heapify(self._heap)

    @property
    def waiting(self) -> bool:
        return bool(self._heap) if self.children else self.lane.next is not None

    def candidate(self) -> Lane:
        """The lane of the job that is next below here."""
        return self._heap[0][2].candidate() if self.children else self.lane

    def key(self) -> tuple[float, ...]:
        """Where it stands among its siblings, by its next job; the lowest goes first."""
        lane = self.candidate()
        job = lane.next
        assert job is not None  # noqa: S101  # only those that wait are asked
        borrows = not self.within(lane.milli, job.spec.resources.models)
        if lane.overdue is not None:
            return (borrows, 0, lane.overdue)
        if not borrows:
            return (0, 1, self.held / self.deserved - self.owed_s / MADE_UP_S if self.deserved else 0.0)
        weight = self.queue.weight * self.factor
        return (1, 1, max(0, self.held - self.deserved) / weight if weight else math.inf)

    def take(self) -> Job | None:
        """The next job; it is gone from here once `settle` is called, when its fate is known."""
        if not self.children:
            return self.lane.next
        if not self._heap:
            return None
        _, at, child = heapq.heappop(self._heap)
        self._last = at, child
        return child.take()

    def settle(self) -> None:
        if not self.children:
            self.lane.settle(self.users)
        elif self._last:
            at, child = self._last
            child.settle()
            if child.waiting:
                heapq.heappush(self._heap, (child.key(), at, child))


_NOTHING = (0, 0)


def weigh(branch: Branch, entitled: float, had: Mapping[str, float]) -> float:
    """Set the factors below `branch`, which may count on `entitled` devices; returns what it had on average.

    Slurm's classic fair-share factor 2^(-usage/share) (priority/multifactor): a queue that had its share counts
    half of one that had nothing. The share is what it deserves and its part by weight of what nobody does.
    """
    if not branch.children:
        return had.get(branch.queue.name, 0.0)
    weights = sum(child.queue.weight for child in branch.children)
    unclaimed = max(0.0, entitled - sum(child.queue.deserved for child in branch.children))
    total = 0.0
    for child in branch.children:
        share = child.queue.deserved + (unclaimed * child.queue.weight / weights if weights else 0.0)
        average = weigh(child, share, had)
        total += average
        if average > 0:
            child.factor = max(_LEAST_FACTOR, math.exp2(-average / share)) if share else _LEAST_FACTOR
    return total


def _room(quota: Mapping[str, int], held: Mapping[str, int], model: str) -> int:
    return quota.get(model, _NO_BOUND) - held.get(model, 0)


def _by_model(quota: Mapping[str, float]) -> dict[str, int]:
    return {model.lower(): _milli(devices) for model, devices in quota.items()}


def _milli(devices: float) -> int:
    return round(devices * WHOLE)


def _values(limit: str, queue: str, most: int, held: int, wanted: int) -> dict[str, str | float]:
    """What a refusal rests on, in devices."""
    return {
        "limit": limit, "queue": queue, "most": most / WHOLE, "held": held / WHOLE, "wanted": wanted / WHOLE,
    }  # fmt: skip


def _devices(milli: int) -> str:
    return f"{milli / WHOLE:g}"


def walk(root: Branch) -> Iterable[Branch]:
    """`root` and all below it."""
    yield root
    for child in root.children:
        yield from walk(child)
