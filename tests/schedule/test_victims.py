"""Who is ended for a gang that has to be close together: one domain, whole, within the rights to take back."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.cluster import Device, Node
from stoker.job import Job, JobSpec, JobState, Placement, Resources
from stoker.queue import Queue
from stoker.schedule import Plan, Policy, Snapshot, decide
from stoker.schedule.pool import field_of
from stoker.schedule.trial import Trial
from stoker.schedule.victims import Candidate, choose
from stoker.topology import Level, Topology
from tests.schedule.test_domains import obeys

NOW = 1_000_000.0
IN_A_LEAF = Topology(required=Level.LEAF)


def node(name: str, leaf: str, gpus: int = 8, pod: str = "p1") -> Node:
    devices = tuple(Device(index, "H100") for index in range(gpus))
    return Node(name, "e", 64, 1 << 40, devices, domains={Level.LEAF: leaf, Level.POD: pod} if leaf else {})


def gang(number: int, gpus: int = 8, nodes: int = 2, topology: Topology = IN_A_LEAF, **fields: object) -> Job:
    wanted = JobSpec(command=("x",), resources=Resources(gpus), nodes=nodes, topology=topology, **fields)  # type: ignore[arg-type]
    return Job(number, wanted, "t", "o", JobState.PENDING, NOW - 100)


def running(number: int, *names: str, gpus: int = 8, age: float = 1000.0, **fields: object) -> Job:
    given: dict[str, object] = {"priority": 20, "preemptible": True, **fields}
    of = gang(number, gpus, len(names), IN_A_LEAF, **given)
    placed = tuple(Placement(name, tuple(range(gpus))) for name in names)
    return dataclasses.replace(
        of, state=JobState.RUNNING, started_at=NOW - age, placements=placed, engine="e", attempt=1
    )


def plan(
    nodes: Sequence[Node], pending: Sequence[Job], active: Sequence[Job], queues: Sequence[Queue] = ()
) -> Plan:
    return decide(Snapshot(NOW, nodes, pending, active, queues=queues, policy=Policy(min_runtime=0.0)))


def victims(result: Plan) -> dict[int, list[int]]:
    return {one.job.id: sorted(victim.id for victim in one.victims) for one in result.preempts}


LEAVES = [node("a", "s1"), node("b", "s1"), node("c", "s2"), node("d", "s2")]


def test_the_cheapest_leaf_gives_way_not_the_cheapest_nodes() -> None:
    """The two cheapest jobs are in different leaves: ending them would let nobody in."""
    ages = {"a": 100.0, "b": 1700.0, "c": 200.0, "d": 1000.0}
    active = [running(number, name, age=ages[name]) for number, name in enumerate("abcd", 1)]
    result = plan(LEAVES, [gang(9)], active)
    assert victims(result) == {9: [3, 4]}
    assert [one.node for one in result.preempts[0].placements] == ["c", "d"]


def test_a_leaf_is_taken_in_which_the_rights_to_take_back_do() -> None:
    """`big` has borrowed 8 of its 16 devices, so not both of its jobs in the first leaf may go; in the second one
    of them may, and one of `other`."""
    queues = (Queue("mine", deserved=16), Queue("big", deserved=8), Queue("other", weight=1.0))
    holding = {"a": "big", "b": "big", "c": "other", "d": "other"}
    active = [
        running(number, name, queue=holding[name], age=100.0 * number) for number, name in enumerate("abcd", 1)
    ]
    result = plan(LEAVES, [gang(9, queue="mine")], active, queues)
    assert victims(result) == {9: [3, 4]}


def test_nobody_is_ended_where_no_leaf_can_hold_the_gang() -> None:
    active = [running(1, "a"), running(2, "b", preemptible=False), running(3, "c"), running(4, "d", priority=99)]
    assert victims(plan(LEAVES, [gang(9, priority=50)], active)) == {}
    wide = plan(LEAVES, [gang(9, priority=50, topology=Topology(preferred=Level.LEAF))], active)
    assert victims(wide) == {9: [1, 3]}


def test_a_pod_is_a_domain_as_well() -> None:
    nodes = [node("a", "s1"), node("b", "s2", pod="p2"), node("c", "s3", pod="p2")]
    active = [running(number, name, age=100.0 * number) for number, name in enumerate("abc", 1)]
    result = plan(nodes, [gang(9, topology=Topology(required=Level.POD))], active)
    assert victims(result) == {9: [2, 3]}


# laws

_PLACES = st.sampled_from([("s1", "p1"), ("s2", "p1"), ("s3", "p2"), ("", "")])
_WISHES = st.sampled_from([Topology(), IN_A_LEAF, Topology(required=Level.POD), Topology(preferred=Level.LEAF)])


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[Node], list[Job], JobSpec]:
    """Nodes of some leaves, jobs that run there, and what a gang wants."""
    places = draw(st.lists(_PLACES, min_size=2, max_size=6))
    nodes = [node(f"n{at}", leaf, draw(st.integers(1, 3)), pod) for at, (leaf, pod) in enumerate(places)]
    field, active = field_of(nodes, ()), []
    for number in range(1, draw(st.integers(1, 7)) + 1):
        wanted = JobSpec(
            command=("x",), resources=Resources(draw(st.integers(1, 2))), nodes=draw(st.integers(1, 2))
        )
        engine, placements = field.fit(wanted)
        if placements:
            field.take(wanted, engine, placements)
            active.append(
                Job(number, wanted, "t", "o", JobState.RUNNING, NOW, NOW - 100, None, 1, engine, placements)
            )
    asked = JobSpec(
        command=("x",),
        resources=Resources(draw(st.integers(1, 3))),
        nodes=draw(st.integers(1, 3)),
        topology=draw(_WISHES),
    )
    return nodes, active, asked


@given(cases(), st.lists(st.integers(1, 9), min_size=7, max_size=7), st.integers(1, 8))
@settings(max_examples=200, deadline=None)
def test_whoever_is_ended_lets_all_of_the_gang_in_where_it_has_to_be(
    case: tuple[list[Node], list[Job], JobSpec], costs: list[int], most: int
) -> None:
    """A set is found whenever ending all that may be ended would help, it obeys the topology, nobody of
    it could stay; where only so many may be ended, no more are."""
    nodes, active, asked = case
    field = field_of(nodes, active)
    if field.fit(asked)[1]:
        return
    candidates = [Candidate(job, float(cost)) for job, cost in zip(active, costs, strict=False)]

    def lets_in(gone: Sequence[Candidate]) -> bool:
        stays = {one.job.id for one in candidates} - {one.job.id for one in gone}
        return bool(field_of(nodes, [job for job in active if job.id in stays]).fit(asked)[1])

    free = choose(asked, Trial(field), candidates)
    assert (free is not None) == lets_in(candidates)
    few = choose(asked, Trial(field), candidates, lambda gone: len(gone) <= most)
    for choice in (free, few):
        if choice is None:
            continue
        assert lets_in(choice.victims)
        assert len(choice.placements) == asked.nodes
        assert obeys(choice.placements, asked, {one.name: one for one in nodes})
        for spared in choice.victims:
            assert not lets_in([one for one in choice.victims if one is not spared])
    assert few is None or len(few.victims) <= most
