"""What a service could have at once, asked of the scheduler itself."""

from __future__ import annotations

import pytest

from stoker.cluster import Device, Node
from stoker.job import Job, JobKind, JobSpec, JobState, Placement, Resources
from stoker.reclaim import Measured, Return, measured
from stoker.schedule import Snapshot
from stoker.schedule.reclaim import Room, room_for

NOW = 10_000.0
DEVICES = tuple(Device(index, "H100", 80 << 30) for index in range(4))
NODE = Node("gpu01", "local", cpus=8, memory=1 << 40, devices=DEVICES)
ONE = Resources(accelerators=1, cpus=0)
REPLICA = JobSpec(command=("serve",), kind=JobKind.SERVICE, resources=ONE, priority=80)


def training(number: int, device: int, *, grace: float = 30.0, started_at: float = 0.0, **changes: object) -> Job:
    spec = JobSpec(
        command=("train",),
        resources=ONE,
        grace=grace,
        **{"preemptible": True, **changes},  # type: ignore[arg-type]
    )
    where = (Placement("gpu01", (device,)),)
    return Job(number, spec, "vision", "bob", JobState.RUNNING, 0.0, started_at, engine="local", placements=where)


def room(*active: Job, count: int = 8, pending: tuple[Job, ...] = ()) -> Room:
    snapshot = Snapshot(NOW, (NODE,), pending, active)
    return room_for(snapshot, REPLICA, count, tenant="speech", owner="ann")


def test_free_devices_come_first_and_then_those_of_who_may_go() -> None:
    assert room() == Room(4, 0, 1.0)
    busy = [training(1, 0), training(2, 1, grace=60.0, checkpoint_signal="USR1", checkpoint_lead=20.0)]
    assert room(*busy) == Room(2, 2, 81.0)
    assert room(*busy, count=3).taken == 1
    assert room(*busy, count=1) == Room(1, 0, 1.0)


def test_who_may_not_go_is_not_counted() -> None:
    kept = [training(1, 0, preemptible=False), training(2, 1, priority=90), training(3, 2, started_at=NOW - 5.0)]
    assert room(*kept, training(4, 3)) == Room(0, 1, 31.0)
    assert room(*[training(n, n, preemptible=False) for n in range(4)]) == Room(0, 0, 0.0)


def test_what_waits_with_the_same_priority_comes_first() -> None:
    other = Job(9, REPLICA, "vision", "bob", JobState.PENDING, 0.0)
    low = Job(
        10, JobSpec(command=("x",), resources=Resources(accelerators=4)), "vision", "bob", JobState.PENDING, 0.0
    )
    assert room(pending=(other, low)).free == 3


@pytest.mark.parametrize("count", [1, 2, 20])
def test_percentiles_are_values_that_were_measured(count: int) -> None:
    returns = [Return(0.0, 1, float(n), float(2 * n)) for n in range(1, count + 1)]
    middle, high = {1: (1.0, 1.0), 2: (1.0, 2.0), 20: (10.0, 19.0)}[count]
    assert measured([*returns, Return(0.0, 0, 99.0, 99.0)]) == Measured(count, middle, high, 2 * middle, 2 * high)


def test_a_replica_for_which_nobody_had_to_go_measures_no_reclaim() -> None:
    assert measured([]) is None
    assert measured([Return(0.0, 0, 1.0, 2.0)]) is None
