"""A stream of jobs through the scheduling decision: what would happen, with time that jumps from event to event.

Jobs end when their work is done, or give way when the plan says so and go on later where they were: what the
dispatcher does, without engines. What gives way takes its time to end where it says so.
"""

from __future__ import annotations

import dataclasses
import heapq
import math
from collections.abc import Callable, Iterable, Sequence

from stoker.cluster import Device, Node
from stoker.job import Job, JobSpec, JobState, Resources
from stoker.queue import Queue
from stoker.schedule import Credits, Meter, Plan, Pool, Quantity, Snapshot, decide
from stoker.schedule.policy import Policy

BEGIN = 1_000_000.0
Seen = Callable[[Snapshot, Plan], None]


def nodes_of(count: int, gpus: int = 8) -> list[Node]:
    devices = tuple(Device(index, "H100") for index in range(gpus))
    return [Node(f"n{number}", "local", 8 * gpus, 1 << 40, devices) for number in range(count)]


@dataclasses.dataclass(frozen=True)
class Coming:
    """A job of the stream."""

    at: float  # seconds since the beginning
    work: float  # seconds
    gpus: int  # on each node
    queue: str = ""
    owner: str = "o"
    nodes: int = 1
    priority: int = 50
    limit: float | None = None  # None: a quarter more than its work
    preemptible: bool = True
    grace: float = 0.0
    stops: float = 0.0  # seconds that it takes to end when it is told to, at most its grace

    @property
    def spec(self) -> JobSpec:
        return JobSpec(
            command=("x",),
            queue=self.queue,
            nodes=self.nodes,
            priority=self.priority,
            resources=Resources(accelerators=self.gpus, cpus=0),
            time_limit=self.limit or self.work * 1.25,
            grace=self.grace,
            requeue=self.preemptible,
            preemptible=self.preemptible,
        )


class Stream:
    """`seen` is called with every snapshot and its plan, after it was carried out in `self`."""

    def __init__(
        self,
        nodes: Sequence[Node],
        queues: Sequence[Queue],
        jobs: Iterable[Coming],
        seen: Seen,
        policy: Policy | None = None,
    ) -> None:
        self.nodes, self.queues, self._seen = nodes, queues, seen
        self.policy = policy or Policy()
        self._coming = sorted(enumerate(jobs, start=1), key=lambda item: (item[1].at, item[0]))
        self._left = {number: one.work for number, one in self._coming}
        self._stops = {number: one.stops for number, one in self._coming}
        self.pending: dict[int, Job] = {}
        self.active: dict[int, Job] = {}
        self.began: dict[int, float] = {}  # first start
        self._since: dict[int, float] = {}
        self._ends: list[tuple[float, int, int]] = []
        self._meter, self._credits, self._pool = Meter(BEGIN), Credits(), Pool()
        self._quantity = Quantity(nodes, queues)
        self._by_name = {queue.name: queue for queue in queues}

    def run(self, until: float = math.inf) -> None:
        """To the end of the stream, or up to `until` seconds."""
        now, wake = BEGIN, math.inf
        while True:
            times = [wake, *(BEGIN + one.at for _, one in self._coming[:1]), *(end[0] for end in self._ends[:1])]
            now = max(now, min(times))
            if not (self._coming or self._ends) or now > BEGIN + until:
                return
            self._meter.advance(now, self.active.values(), self._by_name, self._quantity)
            self._end(now)
            self._come(now)
            wake = self._decide(now)

    def _come(self, now: float) -> None:
        while self._coming and BEGIN + self._coming[0][1].at <= now:
            number, one = self._coming.pop(0)
            self.pending[number] = Job(number, one.spec, one.queue, one.owner, JobState.PENDING, now)

    def _end(self, now: float) -> None:
        while self._ends and self._ends[0][0] <= now:
            _, number, attempt = heapq.heappop(self._ends)
            if number in self.active and self.active[number].attempt == attempt:
                job = self.active.pop(number)
                if job.state is JobState.STOPPING and self._left[number] > 0:
                    self._come_back(job, now)

    def _decide(self, now: float) -> float:
        while True:
            snapshot = Snapshot(
                now, self.nodes, list(self.pending.values()), list(self.active.values()), queues=self.queues,
                usage=self._meter.used, credit=self._credits.at(now), since=self._since, policy=self.policy,
            )  # fmt: skip
            plan = decide(snapshot, self._pool)
            self._apply(plan, now)
            self._credits.note(snapshot, plan)
            self._seen(snapshot, plan)
            if not (plan.preempts or plan.moves):
                return max(now + 1e-3, plan.wake_at or math.inf)

    def _apply(self, plan: Plan, now: float) -> None:
        for start in plan.starts:
            job = self.pending.pop(start.job.id)
            running = dataclasses.replace(
                job, state=JobState.RUNNING, started_at=now, attempt=job.attempt + 1, engine=start.engine,
                placements=start.placements, gives_way_to=None, moves=False,
            )  # fmt: skip
            self.active[job.id] = running
            self.began.setdefault(job.id, now)
            heapq.heappush(self._ends, (now + self._left[job.id], job.id, running.attempt))
        for preempt in plan.preempts:
            for victim in preempt.victims:
                self._take_away(victim, preempt.job.id, now)
        for move in plan.moves:
            self._take_away(move.job, move.room_for.id, now, moves=True)

    def _take_away(self, victim: Job, for_whom: int, now: float, *, moves: bool = False) -> None:
        job = dataclasses.replace(victim, state=JobState.STOPPING, gives_way_to=for_whom, moves=moves)
        assert job.started_at is not None
        self._left[job.id] -= now + self._stops[job.id] - job.started_at
        self._since[job.id] = now
        self.active[job.id] = job
        if self._stops[job.id]:
            heapq.heappush(self._ends, (now + self._stops[job.id], job.id, job.attempt))
        else:
            self._come_back(self.active.pop(job.id), now)

    def _come_back(self, job: Job, now: float) -> None:
        self._since[job.id] = now
        self.pending[job.id] = dataclasses.replace(job, state=JobState.PENDING, started_at=None, placements=())
