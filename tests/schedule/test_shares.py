"""Shares over time: what tenants deserve in a week of bursts, and how long a large gang waits."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.job import Job
from stoker.queue import Queue
from stoker.schedule import Plan, Snapshot
from stoker.schedule.policy import Policy, Preempt
from tests.schedule.stream import BEGIN, Coming, Stream, nodes_of

HOUR, DAY = 3600.0, 86400.0


class Delivered:
    """What each queue held, and for how long it wanted less than it deserves, added up from moment to moment."""

    def __init__(self, queues: Sequence[Queue]) -> None:
        self._deserved = {queue.name: queue.deserved for queue in queues}
        self._times: list[float] = []
        self._had: dict[str, list[float]] = {name: [] for name in self._deserved}  # device-seconds up to each time
        self._wanted_less: dict[str, list[float]] = {name: [] for name in self._deserved}  # seconds
        self._rates: dict[str, tuple[float, float]] = dict.fromkeys(self._deserved, (0.0, 0.0))

    def __call__(self, snapshot: Snapshot, plan: Plan) -> None:
        passed = snapshot.now - BEGIN - (self._times[-1] if self._times else 0.0)
        self._times.append(snapshot.now - BEGIN)
        held, wanted = devices(snapshot.active), devices(snapshot.pending)
        for start in plan.starts:
            held[start.job.spec.queue] += devices_of(start.job)
            wanted[start.job.spec.queue] -= devices_of(start.job)
        for victim in (victim for preempt in plan.preempts for victim in preempt.victims):
            held[victim.spec.queue] -= devices_of(victim)
            wanted[victim.spec.queue] += devices_of(victim)
        for name, (rate, less) in self._rates.items():
            for sums, by in ((self._had[name], rate), (self._wanted_less[name], less)):
                sums.append((sums[-1] if sums else 0.0) + by * passed)
            self._rates[name] = held[name], float(held[name] + wanted[name] < self._deserved[name])

    def least(self, name: str, window: float = DAY, step: float = 3 * HOUR) -> float:
        """The least part of what `name` deserves that it had in any window throughout which it wanted it."""
        first = self._times[0]
        begins = [first + step * number for number in range(int((self._times[-1] - first - window) / step))]
        wanted = [at for at in begins if self._sum(self._wanted_less[name], at, at + window) < 1.0]
        assert wanted, "the stream never wants all for so long"
        return min(self._sum(self._had[name], at, at + window) for at in wanted) / self._deserved[name] / window

    def _sum(self, sums: Sequence[float], begin: float, end: float) -> float:
        low, high = np.interp([begin, end], self._times, sums)  # exact: rates are constant in between
        return float(high - low)


def devices(jobs: Iterable[Job]) -> dict[str, float]:
    """By queue."""
    found: dict[str, float] = defaultdict(float)
    for job in jobs:
        found[job.spec.queue] += devices_of(job)
    return found


def devices_of(job: Job) -> float:
    return job.spec.nodes * job.spec.resources.accelerators


def bursts(
    seed: int, queue: Queue, load: float = 1.5, days: float = 7, sizes: Sequence[int] = (1, 1, 2, 4)
) -> list[Coming]:
    """For a day or two work for `load` times what it deserves, then nothing for as long. No job is larger than a
    quarter of that: what is left of a quota by jobs that are too large for it is not unfairness."""
    chance = random.Random(f"{seed} {queue.name}")  # noqa: S311
    sizes = [size for size in sizes if size <= queue.deserved / 4]
    jobs: list[Coming] = []
    at, busy = chance.uniform(0, DAY), chance.random() < 0.5
    while at < days * DAY:
        until = min(at + chance.uniform(1.2, 2.2) * DAY, days * DAY)
        while busy and at < until:
            gpus, work = chance.choice(sizes), chance.uniform(0.5, 6) * HOUR
            jobs.append(Coming(at, work, gpus, queue.name))
            at += gpus * work / load / queue.deserved
        at, busy = until, not busy
    return jobs


@pytest.mark.slow
def test_in_a_week_of_bursts_everybody_has_what_he_deserves() -> None:
    queues = [Queue("a", deserved=32), Queue("b", deserved=16), Queue("c", deserved=8), Queue("d", deserved=8)]
    delivered = Delivered(queues)
    Stream(nodes_of(8), queues, [job for queue in queues for job in bursts(2, queue)], delivered).run(7 * DAY)
    for queue in queues:
        assert delivered.least(queue.name) >= 0.95, queue.name


PATIENCE = 4 * HOUR


def longest(jobs: Sequence[Coming]) -> float:
    return max(job.spec.time_limit or 0.0 for job in jobs)


def waits(stream: Stream, jobs: Sequence[Coming], gang: int) -> tuple[float, int]:
    """How long a job waited, and how many were there that had waited longer when it had waited too long."""
    came = jobs[gang - 1].at
    overdue = BEGIN + came + PATIENCE
    longer = [
        number
        for number, job in enumerate(jobs, start=1)
        if number != gang and job.at <= came and stream.began.get(number, BEGIN) >= overdue
    ]
    return stream.began[gang] - BEGIN - came, len(longer)


def steady(seed: int, queue: str, load: float, days: float) -> list[Coming]:
    """Small jobs of high priority that fill `load` devices."""
    chance = random.Random(f"{seed} {queue}")  # noqa: S311
    jobs: list[Coming] = []
    at = 0.0
    while at < days * DAY:
        gpus, work = chance.choice((1, 1, 2, 4)), chance.uniform(0.2, 4) * HOUR
        jobs.append(Coming(at, work, gpus, queue, priority=60))
        at += gpus * work / load
    return jobs


@pytest.mark.slow
@pytest.mark.parametrize("preempt", [Preempt.NEVER, Preempt.LOWER])
def test_a_gang_of_a_quarter_of_the_cluster_starts_within_the_bound(preempt: Preempt) -> None:
    queues = [Queue(name, deserved=32, patience=PATIENCE) for name in "ab"]
    jobs = [job for queue in queues for job in steady(1, queue.name, 30.0, days=4)]
    small = len(jobs)
    chance = random.Random(1)  # noqa: S311
    for _ in range(8):
        at = chance.uniform(0.5, 3) * DAY
        jobs.append(Coming(at, 2 * HOUR, 8, chance.choice("ab"), nodes=2, priority=10))
    stream = Stream(nodes_of(8), queues, jobs, lambda *_: None, Policy(preempt=preempt))
    stream.run(6 * DAY)
    for gang in range(small + 1, len(jobs) + 1):
        waited, longer = waits(stream, jobs, gang)
        assert waited <= PATIENCE + (longer + 2) * longest(jobs)


small_jobs = st.builds(
    lambda at, work, gpus, queue, priority: Coming(at * HOUR, work * HOUR, gpus, queue, priority=priority),
    st.floats(0, 24), st.floats(0.1, 3), st.integers(1, 2), st.sampled_from("ab"), st.sampled_from([50, 90]),
)  # fmt: skip


@settings(deadline=None, max_examples=25)
@given(st.lists(small_jobs, min_size=5, max_size=40), st.floats(0, 12))
def test_no_stream_keeps_a_gang_waiting_beyond_the_bound(stream: list[Coming], at: float) -> None:
    queues = [Queue("a", deserved=4, patience=PATIENCE), Queue("b", deserved=4, patience=PATIENCE)]
    jobs = [*stream, Coming(at * HOUR, HOUR, 2, "a", nodes=2, priority=0)]
    played = Stream(nodes_of(4, gpus=2), queues, jobs, lambda *_: None, Policy(preempt=Preempt.NEVER))
    played.run()
    waited, longer = waits(played, jobs, len(jobs))
    assert waited <= PATIENCE + (longer + 2) * longest(jobs)


@settings(deadline=None, max_examples=25)
@given(
    st.lists(small_jobs, min_size=5, max_size=30),
    st.integers(2, 6),
    st.sampled_from([Preempt.NEVER, Preempt.LOWER]),
)
def test_no_moment_of_a_stream_breaks_a_quota(jobs: list[Coming], ceiling: int, preempt: Preempt) -> None:
    queues = [Queue("a", deserved=2, ceiling=ceiling), Queue("b", deserved=6, user_jobs=2)]

    def look(snapshot: Snapshot, plan: Plan) -> None:
        del plan
        held = devices(snapshot.active)
        assert held["a"] <= ceiling
        assert held["a"] + held["b"] <= 8
        assert sum(job.spec.queue == "b" for job in snapshot.active) <= 2

    stream = Stream(nodes_of(4, gpus=2), queues, jobs, look, Policy(preempt=preempt))
    stream.run()
    assert len(stream.began) == len(jobs), "everybody gets a turn"
