"""Who would be ended for a waiting job, what that costs, and what stands in the way."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.explanation import Ending, Shield
from stoker.job import Job, JobState
from stoker.queue import Preemptible, Queue
from stoker.schedule import Policy, Snapshot, decide, explain
from stoker.schedule.policy import Preempt
from tests.schedule.test_explain import NOW, gpus, job, node, on, running

LONG = 7200.0  # more than any minimal time here
POLICY = Policy(preempt=Preempt.LOWER, min_runtime=600.0)


def low(number: int, *devices: int, ago: float = LONG, **fields: object) -> Job:
    fields = {"priority": 10, "preemptible": True} | fields
    return running(number, on("a", *devices), ago=ago, resources=gpus(len(devices)), **fields)  # type: ignore[arg-type]


def urgent(number: int = 9, count: int = 2, **fields: object) -> Job:
    return job(number, resources=gpus(count), **({"priority": 90} | fields))


def told(pending: Job, active: list[Job], **fields: object) -> Ending | None:
    fields.setdefault("policy", POLICY)
    snapshot = Snapshot(NOW, [node("a", gpus=2)], [pending], active, **fields)  # type: ignore[arg-type]
    return explain(snapshot, pending).ending


def shields(ending: Ending | None) -> dict[Shield, int]:
    assert ending is not None
    assert not ending.victims
    return {one.shield: one.count for one in ending.shielded}


def test_the_victims_that_the_pass_chose_are_told_with_what_they_lose() -> None:
    saved = replace(low(1, 0, 1), checkpointed_at=NOW - 240)
    ending = told(urgent(), [saved])
    assert ending is not None
    assert ending.begun
    assert [(one.job, one.devices, one.rests_on, one.lost_s) for one in ending.victims] == [
        ("1", 2, "saved", 240.0)
    ]


def test_those_that_are_already_ending_for_it_are_told() -> None:
    going = replace(low(1, 0, 1), state=JobState.STOPPING, gives_way_to=9)
    ending = told(urgent(), [going])
    assert ending is not None
    assert ending.begun
    assert [one.job for one in ending.victims] == ["1"]


def test_a_minimal_time_that_is_not_over_says_when_it_is() -> None:
    ending = told(urgent(), [low(1, 0, 1, ago=200.0)])
    assert ending is not None
    assert not ending.begun
    assert [one.job for one in ending.victims] == ["1"]
    assert ending.left_s == pytest.approx(400.0)


def test_what_may_be_ended_at_once_goes_before_what_needs_time() -> None:
    young, old = low(1, 0, ago=10.0), low(2, 1)
    ending = told(urgent(count=1), [young, old])
    assert ending is not None
    assert [one.job for one in ending.victims] == ["2"]


@pytest.mark.parametrize(
    ("holder", "shield"),
    [
        (low(1, 0, 1, preemptible=False), Shield.JOB),
        (low(1, 0, 1, priority=90), Shield.PRIORITY),
        (low(1, 0, 1, queue="other"), Shield.RIGHT),
        (low(1, 0, 1, queue="closed"), Shield.QUEUE),
    ],
)
def test_what_protects_those_in_the_way(holder: Job, shield: Shield) -> None:
    queues = (Queue("other", deserved=0), Queue("closed", preemptible=Preemptible.NOBODY))
    assert shields(told(urgent(), [holder], queues=queues)) == {shield: 1}


def test_a_queue_that_has_not_borrowed_keeps_what_it_has() -> None:
    queues = (Queue("mine", deserved=2), Queue("other", deserved=2))
    found = told(urgent(queue="mine"), [low(1, 0, 1, queue="other")], queues=queues)
    assert shields(found) == {Shield.BORROWED: 1}


def test_a_policy_that_ends_nobody_says_so() -> None:
    policy = Policy(preempt=Preempt.NEVER)
    assert shields(told(urgent(), [low(1, 0, 1)], policy=policy)) == {Shield.POLICY: 1}


def test_too_few_that_may_be_ended_are_counted() -> None:
    ending = told(urgent(), [low(1, 0), low(2, 1, preemptible=False)])
    assert shields(ending) == {Shield.JOB: 1}
    assert ending is not None
    assert ending.endable == 1


def test_a_job_that_waits_for_another_has_nobody_to_end() -> None:
    hopeless = urgent(count=64)
    assert told(hopeless, [low(1, 0, 1)]) is None


holders = st.lists(
    st.tuples(st.integers(0, 100), st.booleans(), st.sampled_from([10.0, LONG])), min_size=2, max_size=2
)


@given(holders=holders, count=st.integers(1, 2))
@settings(max_examples=40, deadline=None)
def test_victims_are_those_of_the_pass_and_nobody_protected_is_among_them(
    holders: list[tuple[int, bool, float]], count: int
) -> None:
    active = [
        low(number + 1, number, priority=priority, preemptible=able, ago=ago)
        for number, (priority, able, ago) in enumerate(holders)
    ]
    pending = urgent(count=count)
    snapshot = Snapshot(NOW, [node("a", gpus=2)], [pending], active, policy=POLICY)
    plan = decide(snapshot)
    ending = explain(snapshot, pending, plan).ending
    assert ending is not None
    chosen = {one.label for each in plan.preempts for one in each.victims}
    assert ending.begun == bool(chosen)
    assert not chosen or {one.job for one in ending.victims} == chosen
    by_label = {one.label: one for one in active}
    for victim in ending.victims:
        assert by_label[victim.job].spec.preemptible
        assert by_label[victim.job].spec.priority < 90
    assert ending.victims or ending.endable < count
