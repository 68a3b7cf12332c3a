"""Queues in the scheduling decision: what they deserve, borrow, may not exceed and take back."""

from __future__ import annotations

import dataclasses

from stoker.cluster import Device, Node
from stoker.job import Job, JobSpec, JobState, Placement, Resources
from stoker.queue import Preemptible, Queue
from stoker.queue_window import Window
from stoker.schedule import Meter, Plan, Quantity, Snapshot, decide
from stoker.schedule.line import Line

NOW = 1_000_000.0  # Mon 12 January 1970, 13:46:40 UTC


def pool(gpus: int = 8, model: str = "H100", name: str = "n") -> Node:
    return Node(name, "local", 64, 1 << 40, tuple(Device(index, model) for index in range(gpus)))


def job(
    number: int, queue: str = "", gpus: int = 1, *, owner: str = "o", ago: float = 100.0, **fields: object
) -> Job:
    need = Resources(accelerators=gpus, cpus=0, models=fields.pop("models", ()))  # type: ignore[arg-type]
    spec = JobSpec(command=("x",), queue=queue, resources=need, **fields)  # type: ignore[arg-type]
    return Job(number, spec, "t", owner, JobState.PENDING, NOW - ago)


def holding(number: int, queue: str, *devices: int, node: str = "n", **fields: object) -> Job:
    one = job(number, queue, len(devices), **fields)  # type: ignore[arg-type]
    return dataclasses.replace(
        one, state=JobState.RUNNING, engine="local", placements=(Placement(node, devices),), started_at=NOW - 50
    )


def plan(queues: list[Queue], pending: list[Job], active: list[Job] | None = None, **fields: object) -> Plan:
    nodes = fields.pop("nodes", [pool()])
    return decide(Snapshot(NOW, nodes, pending, active or [], queues=queues, **fields))  # type: ignore[arg-type]


def started(result: Plan) -> list[int]:
    return [start.job.id for start in result.starts]


def test_what_a_queue_deserves_goes_before_what_another_borrows() -> None:
    queues = [Queue("a", deserved=2), Queue("b", deserved=6)]
    pending = [job(number, "a") for number in range(1, 9)] + [job(number, "b") for number in range(11, 19)]
    assert sorted(started(plan(queues, pending))) == [1, 2, 11, 12, 13, 14, 15, 16]


def test_what_nobody_claims_is_shared_by_weight() -> None:
    queues = [Queue("a", weight=1), Queue("b", weight=3)]
    pending = [job(number, "a") for number in range(1, 9)] + [job(number, "b") for number in range(11, 19)]
    assert sorted(started(plan(queues, pending))) == [1, 2, 11, 12, 13, 14, 15, 16]


def test_who_had_more_of_late_borrows_less() -> None:
    queues = [Queue("a"), Queue("b")]
    pending = [job(number, "a") for number in range(1, 9)] + [job(number, "b") for number in range(11, 19)]
    usage = {("a", ("t", "o")): 4 * queues[0].half_life}
    count = sum(number < 10 for number in started(plan(queues, pending, usage=usage)))
    assert 0 < count < 4


def test_what_was_had_is_forgotten_by_the_half_life_of_each_queue() -> None:
    """a held everything for a week, and nothing for the next one."""
    pending = [job(number, "a") for number in range(1, 9)] + [job(number, "b") for number in range(11, 19)]
    counts = []
    for half_life in (3600.0, 7 * 86400.0):
        queues = {name: Queue(name, half_life=half_life) for name in "ab"}
        meter = Meter(NOW - 14 * 86400)
        everything = [holding(20, "a", *range(8))]
        everything = [dataclasses.replace(one, started_at=NOW - 14 * 86400) for one in everything]
        meter.advance(NOW - 7 * 86400, everything, queues, Quantity([pool()], ()))
        meter.advance(NOW, [], queues, Quantity([pool()], ()))
        counts.append(sum(number < 10 for number in started(plan([*queues.values()], pending, usage=meter.used))))
    assert counts[0] == 4
    assert 0 < counts[1] < 4


def test_an_idle_queue_leaves_everything() -> None:
    queues = [Queue("a", deserved=2), Queue("b", deserved=6)]
    assert len(started(plan(queues, [job(number, "a") for number in range(1, 9)]))) == 8


def test_a_ceiling_holds_whatever_is_free() -> None:
    result = plan([Queue("a", ceiling=3)], [job(number, "a") for number in range(1, 6)])
    assert started(result) == [1, 2, 3]
    assert result.waits[4].reason == "AssocGrpGRES"
    assert result.waits[4].message == 'queue "a" may hold 3 devices and holds 3; this job wants 1'


def test_the_ceiling_of_a_tenant_holds_for_its_teams_together() -> None:
    queues = [Queue("t", ceiling=4), Queue("a", parent="t"), Queue("b", parent="t")]
    pending = [job(number, "a") for number in range(1, 9)] + [job(number, "b") for number in range(11, 19)]
    assert sorted(started(plan(queues, pending))) == [1, 2, 11, 12]


def test_teams_share_what_their_tenant_deserves() -> None:
    queues = [Queue("t", deserved=6), Queue("a", parent="t", deserved=4), Queue("b", parent="t"), Queue("u")]
    pending = [job(10 * at + number, name) for at, name in enumerate("abu") for number in range(1, 9)]
    result = started(plan(queues, pending))
    counts = [sum(number // 10 == at for number in result) for at in range(3)]
    assert counts[2] == 1  # of the two that nobody claims t and u get one each
    assert sorted(counts[:2]) in ([1, 6], [2, 5])  # b borrows from its tenant what a does not deserve
    assert counts[0] >= 5


def test_without_weight_nothing_is_borrowed() -> None:
    result = plan([Queue("a", deserved=2, weight=0)], [job(number, "a") for number in range(1, 6)])
    assert started(result) == [1, 2]
    assert "borrows nothing" in result.waits[3].message


def test_ceilings_of_models_send_jobs_to_other_models() -> None:
    nodes = [pool(4, "H100", "n"), pool(4, "H20", "m")]
    queue = Queue("a", ceiling_of={"h100": 1})
    result = plan([queue], [job(number, "a") for number in range(1, 7)], nodes=nodes)
    where = [start.placements[0].node for start in result.starts]
    assert (where.count("n"), where.count("m")) == (1, 4)


def test_limits_of_a_user() -> None:
    pending = [job(1, "a"), job(2, "a"), job(3, "a", owner="p"), job(4, "a", gpus=0)]
    result = plan([Queue("a", user_devices=1)], pending)
    assert sorted(started(result)) == [1, 3, 4]
    assert result.waits[2].reason == "QOSMaxGRESPerUser"
    result = plan([Queue("a", user_jobs=1)], pending)
    assert sorted(started(result)) == [1, 3]
    assert result.waits[4].message == 'o has 1 jobs running, as many as one user may in queue "a"'


def test_priority_counts_in_a_queue_and_not_between_queues() -> None:
    queues = [Queue("a", deserved=4), Queue("b", deserved=4)]
    pending = [job(number, "a", gpus=4, priority=90) for number in (1, 2)] + [job(3, "b", gpus=4, priority=10)]
    assert sorted(started(plan(queues, pending))) == [1, 3]
    assert started(plan(queues, [job(1, "a", gpus=8, priority=10), job(2, "a", gpus=8, priority=20)])) == [2]


def test_users_of_a_queue_take_turns() -> None:
    pending = [
        *(job(number, "a") for number in range(1, 20)),
        *(job(number, "a", owner="p") for number in (20, 21)),
    ]
    assert {20, 21} <= set(started(plan([Queue("a")], pending)))
    assert {20, 21}.isdisjoint(started(plan([Queue("a", fair_users=False)], pending)))


def test_who_used_more_of_late_comes_later() -> None:
    usage = {("a", ("t", "o")): 1e6, ("a", ("t", "p")): 1e5}
    pending = [job(1, "a", gpus=8), job(2, "a", gpus=8, owner="p")]
    assert started(plan([Queue("a")], pending, usage=usage)) == [2]


def test_a_deadline_that_is_near_goes_first_among_equals() -> None:
    soon = {"time_limit": 3600.0, "deadline": NOW + 4000}
    pending = [job(1, "a", gpus=8), job(2, "a", gpus=8, **soon)]  # type: ignore[arg-type]
    assert started(plan([Queue("a")], pending)) == [2]
    later = dataclasses.replace(pending[1], spec=dataclasses.replace(pending[1].spec, deadline=NOW + 1e6))
    lost = dataclasses.replace(pending[1], spec=dataclasses.replace(pending[1].spec, deadline=NOW + 100))
    assert started(plan([Queue("a")], [pending[0], later])) == [1]
    assert started(plan([Queue("a")], [pending[0], lost])) == [1]


def test_who_waits_too_long_goes_before_any_priority() -> None:
    queue = Queue("a", patience=3600)
    pending = [job(1, "a", gpus=8, ago=3601), job(2, "a", gpus=8, priority=99)]
    assert started(plan([queue], pending)) == [1]
    assert started(plan([queue], [job(1, "a", gpus=8, ago=3599), pending[1]])) == [2]


def test_who_came_back_waits_anew() -> None:
    back = dataclasses.replace(job(1, "a", gpus=8, ago=9999), attempt=1)
    urgent = job(2, "a", gpus=8, priority=99)
    queue = Queue("a", patience=3600)
    assert started(plan([queue], [back, urgent])) == [2]
    assert started(plan([queue], [back, urgent], since={1: NOW - 4000})) == [1]


def test_windows_change_the_numbers() -> None:
    night = Window("Mon-Fri 20:00-08:00", ceiling=8)
    queue = Queue("a", ceiling=1, windows=(night,))
    pending = [job(number, "a") for number in range(1, 4)]
    result = plan([queue], pending)
    assert started(result) == [1]
    assert result.wake_at == NOW + 6 * 3600 + 13 * 60 + 20  # 20:00
    assert len(plan([dataclasses.replace(queue, timezone="Asia/Shanghai")], pending).starts) == 3


def may_take(queues: list[Queue], wanting: Job, victim: Job, active: list[Job]) -> bool:
    return Line(Snapshot(NOW, [pool()], [wanting], active, queues=queues)).may_take(wanting, victim)


def test_only_what_was_borrowed_is_taken_back_and_only_for_what_is_deserved() -> None:
    queues = [Queue("a", deserved=4), Queue("b", deserved=4)]
    borrower = [holding(number, "a", number) for number in range(6)]
    assert may_take(queues, job(9, "b", gpus=2, priority=1), borrower[0], borrower)
    assert not may_take(queues, job(9, "b", gpus=5), borrower[0], borrower)  # it would borrow itself
    assert not may_take(queues, job(9, "b"), borrower[0], borrower[:4])  # the other has only what it deserves
    line = Line(Snapshot(NOW, [pool()], [], borrower, queues=queues))
    assert (line.over("a"), line.over("b"), line.held("a")) == (2.0, 0.0, 6.0)
    assert line.may_take(job(9, "b"), borrower[1], [borrower[0]])
    assert not line.may_take(job(9, "b"), borrower[2], borrower[:2])


def test_in_a_queue_only_a_higher_priority_takes() -> None:
    one = holding(1, "", 0)
    assert may_take([], job(9, "", priority=51), one, [one])
    assert not may_take([], job(9, ""), one, [one])


def test_a_queue_says_whether_its_jobs_may_be_ended() -> None:
    for preemptible, other, own in [("anybody", True, True), ("own", False, True), ("nobody", False, False)]:
        queues = [Queue("a", preemptible=Preemptible(preemptible)), Queue("b", deserved=4)]
        one = holding(1, "a", 0)
        assert may_take(queues, job(9, "b"), one, [one]) is other
        assert may_take(queues, job(9, "a", priority=60), one, [one]) is own


def test_a_tenant_takes_back_from_the_team_that_borrowed() -> None:
    queues = [
        Queue("t", deserved=4), Queue("a", parent="t", deserved=2), Queue("b", parent="t", deserved=2),
        Queue("u", deserved=4),
    ]  # fmt: skip
    active = [holding(1, "a", 0, 1), holding(2, "b", 2, 3, 4, 5)]
    assert may_take(queues, job(9, "u", gpus=2), active[1], active)
    assert not may_take(queues, job(9, "u", gpus=2), active[0], active)
