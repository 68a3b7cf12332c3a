"""Lane: the waiting jobs of one queue, in its own order."""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable, Mapping

from stoker.cluster import WHOLE
from stoker.job import Job, JobSpec
from stoker.queue import Queue, average
from stoker.schedule.rank import Rank

_NEAR_S = 3600.0  # of the moment at which a job must begin to keep its deadline, beyond its own length
_User = tuple[str, str]
Holding = Mapping[_User, list[int]]  # thousandths of devices and jobs by user


class Lane:
    """`next` is the job that is to be taken now, `milli` what it asks for in thousandths of devices, and `overdue`
    since when it waits where that is longer than the queue's patience."""

    def __init__(self, queue: Queue, size: Callable[[JobSpec], int]) -> None:
        self._queue = queue
        self._size = size
        self._overdue: list[tuple[float, int, Job]] = []
        self._waited: deque[tuple[float, int, Job]] = deque()
        self._bands: dict[int, list[Job]] = {}  # priority -> jobs
        self._priorities: list[int] = []  # of those not begun, the highest last
        self._band: _Band | None = None
        self._had: Mapping[_User, float] = {}
        self._rank: Rank | None = None
        self._now = 0.0
        self.wake_at = math.inf
        self.next: Job | None = None
        self.milli = 0
        self.overdue: float | None = None

    def remember(self, used: Mapping[_User, float]) -> None:
        """What its users have used, in decayed device-seconds."""
        self._had = {user: average(seconds, self._queue.half_life) * WHOLE for user, seconds in used.items()}

    def rank_by(self, rank: Rank | None) -> None:
        """Among equal priorities by `rank`, whoever they are of; None: as the queue has it."""
        self._rank = rank

    def join(self, job: Job, now: float, since: Mapping[int, float]) -> None:
        self._now = now
        patience = self._queue.patience
        if patience is not None:
            began = waits_since(job, now, since)
            if now - began >= patience:
                self._overdue.append((began, job.id, job))
                return
            if began + patience < self.wake_at:
                self.wake_at = began + patience
        band = self._bands.get(job.spec.priority)
        if band is None:
            band = self._bands[job.spec.priority] = []
        band.append(job)

    def overdue_since(self, job: Job, now: float, since: Mapping[int, float]) -> float:
        """Since when `job` waits if that is longer than the queue's patience; else infinite."""
        patience, began = self._queue.patience, waits_since(job, now, since)
        return math.inf if patience is None or now - began < patience else began

    def sort(self, holding: Holding) -> None:
        self._overdue.sort()  # ids differ: jobs are never compared
        self._waited = deque(self._overdue)
        self._priorities = sorted(self._bands)
        self.settle(holding)

    def settle(self, holding: Holding) -> None:
        """Find the next job, now that the fate of the last one is known."""
        if self._waited:
            self.overdue, _, self.next = self._waited.popleft()
        else:
            self.overdue, self.next = None, self._next_of_bands(holding)
        if self.next is not None:
            self.milli = self._size(self.next.spec)

    def _next_of_bands(self, holding: Holding) -> Job | None:
        while True:
            if self._band is not None and (job := self._band.take(holding)) is not None:
                return job
            if not self._priorities:
                return None
            self._band = self._open(self._bands[self._priorities.pop()], holding)

    def _open(self, jobs: list[Job], holding: Holding) -> _Band:
        jobs.sort(key=_by_id)
        near = [job for job in jobs if job.spec.deadline is not None and self._is_near(job)]
        near.sort(key=lambda job: (latest_begin(job), job.id))
        if near:
            early = {job.id for job in near}
            jobs = [job for job in jobs if job.id not in early]
        if self._rank is not None:
            ranks = {job.id: self._rank(job) for job in jobs}
            jobs.sort(key=lambda job: (ranks[job.id], job.id))
        if self._rank is not None or not self._queue.fair_users:
            return _Band([*near, *jobs], [], self._had, holding)
        return _Band(near, jobs, self._had, holding)

    def _is_near(self, job: Job) -> bool:
        """Whether it must begin soon to keep its deadline. One that cannot keep it any more hurries no longer."""
        latest, horizon = latest_begin(job), _NEAR_S + (job.spec.time_limit or 0.0)
        if latest - horizon > self._now:
            self.wake_at = min(self.wake_at, latest - horizon)
        return self._now <= latest <= self._now + horizon


class _Band:
    """Jobs of one priority: some at once, then those of the user who has and had least, each user's in order."""

    def __init__(self, first: list[Job], rest: list[Job], had: Mapping[_User, float], holding: Holding) -> None:
        self._had = had
        self._first = deque(first)
        self._users: dict[_User, deque[Job]] = {}
        for job in rest:
            user = (job.tenant, job.owner)
            mine = self._users.get(user)
            if mine is None:
                mine = self._users[user] = deque()
            mine.append(job)
        self._heap = [self._entry(user, mine, holding) for user, mine in self._users.items()]
        heapq.heapify(self._heap)
        self._last: _User | None = None

    def take(self, holding: Holding) -> Job | None:
        """The next job; only what the user of the last one holds may have changed since."""
        if self._first:
            return self._first.popleft()
        if self._last is not None and (mine := self._users[self._last]):
            heapq.heappush(self._heap, self._entry(self._last, mine, holding))
        self._last = None
        if not self._heap:
            return None
        _, _, user = heapq.heappop(self._heap)
        self._last = user
        return self._users[user].popleft()

    def _entry(self, user: _User, mine: deque[Job], holding: Holding) -> tuple[float, int, _User]:
        held = holding.get(user)
        return (self._had.get(user, 0.0) + (held[0] if held else 0), mine[0].id, user)


def waits_since(job: Job, now: float, since: Mapping[int, float]) -> float:
    """Seconds since the epoch; `since` tells it of jobs that came back."""
    return since.get(job.id, now) if job.attempt else job.submitted_at


def _by_id(job: Job) -> int:
    return job.id


def latest_begin(job: Job) -> float:
    """The last moment at which it may begin to keep its deadline."""
    assert job.spec.deadline is not None  # noqa: S101  # only those that have one are asked
    return job.spec.deadline - (job.spec.time_limit or 0.0)
