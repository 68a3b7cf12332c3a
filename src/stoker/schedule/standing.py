"""How queues stand at a moment, for people; and what can never start in them."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping

from stoker.cluster import WHOLE
from stoker.job import JobSpec
from stoker.queue import DEFAULT, Queue, average, in_order, path_of
from stoker.queue_standing import Standing, UserStanding
from stoker.schedule.line import Line
from stoker.schedule.snapshot import Snapshot


def standings(queues: Iterable[Queue], snapshot: Snapshot) -> list[Standing]:
    """How each of `queues` stands, parents before their children."""
    line = Line(snapshot)
    by_name = {queue.name: queue for queue in queues}
    waiting = _waiting(snapshot, by_name, line)
    return [_standing(queue, snapshot, line, waiting) for queue in in_order(by_name)]


def never(spec: JobSpec, devices: float, by_name: Mapping[str, Queue]) -> str:
    """Why a job that asks for so many devices can never start in its queue, in one line; empty when it can."""
    for queue in path_of(spec.queue or DEFAULT, by_name):
        most = _most(queue)
        if devices > most:
            return f'asks for {devices:g} devices; queue "{queue.name}" may hold {most:g} at most'
        each = max(math.inf if one.user_devices is None else one.user_devices for one in _times(queue))
        if devices > each:
            return f'asks for {devices:g} devices; one user may hold {each:g} in queue "{queue.name}"'
    return ""


def _most(queue: Queue) -> float:
    """What it may ever hold, in whichever window."""
    return max(
        (math.inf if one.ceiling is None else one.ceiling) if one.weight else one.deserved for one in _times(queue)
    )


def _times(queue: Queue) -> list[Queue]:
    """As it is outside of its windows, and in each."""
    return [queue, *(queue.in_window(window) for window in queue.windows)]


def _waiting(snapshot: Snapshot, by_name: Mapping[str, Queue], line: Line) -> Mapping[str, tuple[float, int]]:
    """Devices and jobs that wait, by queue."""
    own: dict[str, list[float]] = defaultdict(lambda: [0.0, 0])
    for job in snapshot.pending:
        mine = own[job.spec.queue if job.spec.queue in by_name else DEFAULT]
        mine[0] += line.asked(job)
        mine[1] += 1
    total: dict[str, list[float]] = defaultdict(lambda: [0.0, 0])
    for name, (devices, count) in own.items():
        for queue in path_of(name, by_name):
            total[queue.name][0] += devices
            total[queue.name][1] += count
    return {name: (devices, int(count)) for name, (devices, count) in total.items()}


def _standing(queue: Queue, snapshot: Snapshot, line: Line, waiting: Mapping[str, tuple[float, int]]) -> Standing:
    users = line.users(queue.name)
    below = line.below(queue.name)
    used: dict[tuple[str, str], float] = defaultdict(float)
    for (name, user), seconds in snapshot.usage.items():
        if name in below:
            used[user] += average(seconds, below[name].half_life)
    devices, jobs = waiting.get(queue.name, (0.0, 0))
    changes = queue.next_change(snapshot.now)
    return Standing(
        queue=queue,
        now=queue.at(snapshot.now),
        held=line.held(queue.name),
        borrowed=line.over(queue.name),
        waiting=devices,
        running_jobs=sum(count for _, count in users.values()),
        waiting_jobs=jobs,
        average=sum(used.values()),
        owed=snapshot.credit.get(queue.name, 0.0),
        capacity=line.capacity,
        changes_at=changes if math.isfinite(changes) else None,
        users=tuple(
            UserStanding(tenant, owner, held / WHOLE, count, used.get((tenant, owner), 0.0))
            for (tenant, owner), (held, count) in sorted({**dict.fromkeys(used, (0, 0)), **users}.items())
            if count or used.get((tenant, owner), 0.0) >= _SHOWN
        ),
    )


_SHOWN = 0.005  # devices on average
