"""Topology: a level that is required holds, one that is preferred keeps nobody waiting, sound devices first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.cluster import Device, Health, Node
from stoker.errors import BadInput
from stoker.job import JobSpec, Placement, Resources
from stoker.schedule import unfit
from stoker.schedule.field import Field
from stoker.schedule.layout import layout_of
from stoker.schedule.mix import usual_mix
from stoker.schedule.worth import worth_of
from stoker.topology import BETWEEN_NODES, WITHIN_NODE, Level, Topology, format_topology, parse_topology

LEAF, POD, NVLINK, PCIE = Level.LEAF, Level.POD, Level.NVLINK, Level.PCIE


def node(name: str, leaf: str = "", pod: str = "", devices: Sequence[Device] | None = None) -> Node:
    found = tuple(Device(index, "H100") for index in range(8)) if devices is None else tuple(devices)
    told = {level: word for level, word in ((LEAF, leaf), (POD, pod)) if word}
    return Node(name, "e", 96, 512 << 30, found, domains=told)


def spec(nodes: int = 1, devices: int = 8, tolerations: tuple[str, ...] = (), **wish: Level) -> JobSpec:
    need = Resources(accelerators=devices, cpus=1)
    return JobSpec(command=("x",), resources=need, nodes=nodes, topology=Topology(**wish), tolerations=tolerations)


def field(nodes: Sequence[Node]) -> Field:
    layout = layout_of(nodes)
    return Field(layout, worth_of(usual_mix(), layout.models))


def fabric(leaves: dict[str, int], pods: dict[str, str] | None = None) -> list[Node]:
    """Nodes a1, a2... of the leaves a..., one after the other in turn: leaves are no neighbours in the list."""
    pods = pods or {}
    turns = range(1, max(leaves.values()) + 1)
    return [
        node(f"{leaf}{turn}", leaf, pods.get(leaf, ""))
        for turn in turns
        for leaf, size in leaves.items()
        if turn <= size
    ]


def names(placements: Sequence[Placement]) -> list[str]:
    return [placed.node for placed in placements]


def leaves_of(placements: Sequence[Placement]) -> Counter[str]:
    return Counter(placed.node[0] for placed in placements)


def test_a_gang_goes_to_the_smallest_leaf_that_holds_it() -> None:
    pool = field(fabric({"a": 4, "b": 2, "c": 3}))
    assert names(pool.fit(spec(3))[1]) == ["c1", "c2", "c3"]
    assert names(pool.fit(spec(2))[1]) == ["b1", "b2"]


def test_what_no_leaf_holds_waits_if_a_leaf_is_required_and_takes_few_if_it_is_preferred() -> None:
    pool = field(fabric({"a": 2, "b": 3, "c": 3}))
    assert pool.fit(spec(4, required=LEAF))[1] == ()
    for wish in (Topology(preferred=LEAF), Topology()):
        assert leaves_of(pool.fit(replace(spec(4), topology=wish))[1]) == {"b": 3, "a": 1}
        assert leaves_of(pool.fit(replace(spec(5), topology=wish))[1]) == {"b": 3, "a": 2}


def test_ranks_that_are_neighbours_share_a_leaf() -> None:
    pool = field(fabric({"a": 2, "b": 3, "c": 3}))
    assert names(pool.fit(spec(8))[1]) == ["a1", "a2", "b1", "b2", "b3", "c1", "c2", "c3"]


def test_the_closest_level_that_holds_all_is_taken_before_the_whole_pool() -> None:
    pods = {"a": "p", "b": "q", "c": "q", "d": "p"}
    pool = field(fabric({"a": 3, "b": 2, "c": 2, "d": 3}, pods))
    assert leaves_of(pool.fit(spec(4))[1]) == {"b": 2, "c": 2}
    assert leaves_of(pool.fit(spec(4, required=POD))[1]) == {"b": 2, "c": 2}
    assert leaves_of(pool.fit(spec(5, preferred=LEAF))[1]) == {"a": 3, "d": 2}
    assert pool.fit(spec(7, required=POD))[1] == ()
    assert len(pool.fit(spec(7, preferred=POD))[1]) == 7


def test_leaves_of_one_name_in_two_pods_are_two() -> None:
    nodes = [node("x", "s1", "p1"), node("y", "s1", "p2")]
    assert field(nodes).fit(spec(2, required=LEAF))[1] == ()


def test_without_a_wish_nothing_of_the_nodes_worth_is_given_for_closeness() -> None:
    """Leaf a would hold it, but there its CPUs would be missed."""
    nodes = [replace(one, cpus=96 if one.name[0] == "a" else 256) for one in fabric({"a": 2, "b": 1, "c": 1})]
    job = replace(spec(2), resources=Resources(accelerators=1, cpus=40))
    assert names(field(nodes).fit(job)[1]) == ["b1", "c1"]
    assert names(field(nodes).fit(replace(job, topology=Topology(preferred=LEAF)))[1]) == ["a1", "a2"]


def test_nodes_spread_evenly() -> None:
    pool = field(fabric({"a": 4, "b": 1, "c": 2}, {"a": "p", "b": "p", "c": "q"}))
    assert leaves_of(pool.fit(spec(3, spread=LEAF))[1]) == {"a": 1, "b": 1, "c": 1}
    assert leaves_of(pool.fit(spec(5, spread=LEAF))[1]) == {"a": 2, "b": 1, "c": 2}
    assert leaves_of(pool.fit(spec(3, required=POD, spread=LEAF))[1]) == {"a": 2, "b": 1}


def test_a_level_that_nobody_tells_of_is_not_met() -> None:
    plain = [node("x"), node("y")]
    assert field(plain).fit(spec(2, required=LEAF))[1] == ()
    assert len(field(plain).fit(spec(2, preferred=LEAF))[1]) == 2
    assert unfit(spec(2, required=LEAF), plain) == (
        "requires one leaf; no node tells which it is in: see stoker nodes topology"
    )
    told = fabric({"a": 2, "b": 3})
    assert unfit(spec(4, required=LEAF), told) == (
        "asks for 4 nodes of one leaf; the largest has 3 that could hold it"
    )
    assert unfit(spec(3, required=LEAF), told) == ""
    assert "no node tells of any" in unfit(spec(1, 2, required=PCIE), told)


def board(pairs: int = 4, bad: Sequence[int] = (), health: Health = Health.DEGRADED) -> list[Device]:
    """Eight devices, one NVLink domain, a PCIe switch for each two, a socket for each four."""
    return [
        Device(
            index, "H100", health=health if index in bad else Health.OK, nvlink="0", numa=str(index // 4),
            pcie=str(index * pairs // 8),
        )
        for index in range(8)
    ]  # fmt: skip


def test_devices_of_a_node_are_taken_group_by_group() -> None:
    pool = field([node("n", devices=board())])
    first = pool.fit(spec(devices=1))[1]
    pool.take(spec(devices=1), "e", first)
    assert first[0].devices == (0,)
    assert pool.fit(spec(devices=1))[1][0].devices == (1,)  # the pair that is broken already
    assert pool.fit(spec(devices=2))[1][0].devices == (2, 3)
    assert pool.fit(spec(devices=4))[1][0].devices == (4, 5, 6, 7)
    assert len(pool.fit(spec(devices=7))[1][0].devices) == 7


def test_what_is_required_within_a_node() -> None:
    nodes = [node("flat"), node("n", devices=board())]
    pool = field(nodes)
    assert names(pool.fit(spec(devices=2, required=PCIE))[1]) == ["n"]
    assert names(pool.fit(spec(devices=8, required=NVLINK))[1]) == ["n"]
    assert names(pool.fit(spec(devices=2, preferred=PCIE))[1]) == ["n"]
    assert pool.fit(spec(devices=3, required=PCIE))[1] == ()
    assert "no node has so large a one" in unfit(spec(devices=3, required=PCIE), nodes)
    pool.take(spec(devices=4), "e", (Placement("n", (0, 2, 4, 6)),))
    assert pool.fit(spec(devices=2, required=PCIE))[1] == ()
    assert names(pool.fit(spec(devices=2, preferred=PCIE))[1]) == ["flat"]


def test_a_degraded_device_is_taken_last_and_does_not_cost_its_node() -> None:
    sick, well = node("sick", devices=board(bad=[1])), node("well", devices=board())
    pool = field([sick, well])
    assert names(pool.fit(spec(devices=8))[1]) == ["well"]
    assert pool.fit(spec(devices=7))[1] == (Placement("sick", (0, 2, 3, 4, 5, 6, 7)),)
    assert names(pool.fit(spec(2))[1]) == ["sick", "well"]  # nothing else fits
    assert names(pool.fit(spec(devices=8, tolerations=("degraded",)))[1]) == ["sick"]
    share = JobSpec(command=("x",), resources=Resources(accelerators=1, milli=500))
    assert field([node("sick", devices=board(bad=range(7)))]).fit(share)[1][0].devices == (7,)
    failed = field([node("half", devices=board(bad=range(1, 8), health=Health.FAILED))])
    assert failed.fit(spec(devices=1))[1][0].devices == (0,)
    assert failed.fit(spec(devices=2))[1] == ()


@pytest.mark.parametrize(
    ("text", "wish"),
    [
        ("leaf", Topology(required=LEAF)),
        ("required=pod,preferred=leaf", Topology(required=POD, preferred=LEAF)),
        ("preferred=rack", Topology(preferred=LEAF)),
        ("required=pod,spread=leaf", Topology(required=POD, spread=LEAF)),
    ],
)
def test_wishes_in_words(text: str, wish: Topology) -> None:
    assert parse_topology(text) == wish
    assert parse_topology(format_topology(wish)) == wish


@pytest.mark.parametrize(
    "text", ["", "near", "leaf=a", "required=leaf,required=pod", "required=leaf,preferred=pod", "spread=pcie",
             "spread=leaf,preferred=leaf", "required=leaf,spread=leaf", "required=leaf,preferred=leaf"]
)  # fmt: skip
def test_wishes_that_cannot_be(text: str) -> None:
    with pytest.raises(BadInput):
        parse_topology(text)


# laws

HEALTHS = st.sampled_from([Health.OK, Health.UNKNOWN, Health.OK, Health.DEGRADED, Health.FAILED])
WORDS = st.sampled_from(["", "0", "1"])
DEVICES = st.lists(st.builds(lambda h, v, p: (h, v, p), HEALTHS, WORDS, WORDS), max_size=4)
PLACES = st.tuples(st.sampled_from(["", "s1", "s2", "s3"]), st.sampled_from(["", "p1", "p2"]))


@st.composite
def nodes_(draw: st.DrawFn) -> list[Node]:
    found = []
    for at in range(draw(st.integers(1, 7))):
        leaf, pod = draw(PLACES)
        devices = [
            Device(index, "H100", health=health, nvlink=nvlink, pcie=pcie)
            for index, (health, nvlink, pcie) in enumerate(draw(DEVICES))
        ]
        found.append(node(f"n{at}", leaf, pod, devices))
    return found


@st.composite
def specs(draw: st.DrawFn) -> JobSpec:
    level = st.none() | st.sampled_from(list(Level))
    try:
        wish = Topology(draw(level), draw(level), draw(st.none() | st.just(LEAF)))
    except BadInput:
        wish = Topology(required=draw(level))
    return replace(spec(draw(st.integers(1, 4)), draw(st.integers(0, 3))), topology=wish)


def shared(nodes: Sequence[Node], level: Level) -> bool:
    """Whether all are in one domain of `level`, or of a closer one: it lies within one."""
    for at, closer in enumerate(BETWEEN_NODES[: BETWEEN_NODES.index(level) + 1]):
        places = {tuple(one.domain(each) for each in BETWEEN_NODES[at:]) for one in nodes}
        if len(places) == 1 and nodes[0].domain(closer):
            return True
    return False


def obeys(placements: Sequence[Placement], job: JobSpec, by_name: dict[str, Node]) -> bool:
    level = job.topology.required
    if level in BETWEEN_NODES and len(placements) > 1:
        return shared([by_name[one.node] for one in placements], level)
    if level in WITHIN_NODE and job.resources.accelerators > 1:
        for placed in placements:
            words = {by_name[placed.node].devices[index].group(level) for index in placed.devices}
            if len(words) > 1 or "" in words:
                return False
    return True


@settings(max_examples=150, deadline=None)
@given(nodes=nodes_(), jobs=st.lists(specs(), max_size=6))
def test_laws(nodes: list[Node], jobs: list[JobSpec]) -> None:
    """Gangs are whole and obey what they require; failed devices stay idle, degraded ones are taken last; what is
    only preferred never makes a job wait; the same question has the same answer."""
    by_name = {one.name: one for one in nodes}
    pool = field(nodes)
    held: set[tuple[str, int]] = set()
    for job in jobs:
        found = pool.fit(job)
        assert found == pool.fit(job)
        firm = replace(job, topology=Topology(required=job.topology.required))
        assert bool(found[1]) == bool(pool.fit(firm)[1])
        if not job.topology.required:
            assert bool(found[1]) == (len(pool.fitting(job)) >= job.nodes)
        if not found[1]:
            assert not obeyable(pool, job)
            continue
        assert len(set(names(found[1]))) == job.nodes
        assert obeys(found[1], job, by_name)
        for placed in found[1]:
            taken = [by_name[placed.node].devices[index] for index in placed.devices]
            assert len({device.index for device in taken}) == job.resources.accelerators
            assert all(device.health is not Health.FAILED for device in taken)
            assert not held & {(placed.node, device.index) for device in taken}
            held |= {(placed.node, device.index) for device in taken}
        pool.take(job, *found)


def obeyable(pool: Field, job: JobSpec) -> bool:
    """Whether there are enough nodes, on which its part fits, in one domain of the level that is required."""
    fitting, level = pool.fitting(job), job.topology.required
    if job.nodes == 1 or level not in BETWEEN_NODES:
        return len(fitting) >= job.nodes
    return any(shared(some, level) for some in combinations(fitting, job.nodes))


@settings(max_examples=60, deadline=None)
@given(nodes=nodes_(), job=specs())
def test_a_sound_device_is_never_left_for_a_degraded_one(nodes: list[Node], job: JobSpec) -> None:
    """When the job fits without any degraded device, it takes none."""
    sound = [
        replace(
            one,
            devices=tuple(
                replace(device, health=Health.FAILED) if device.health is Health.DEGRADED else device
                for device in one.devices
            ),
        )
        for one in nodes
    ]
    if field(sound).fit(job)[1]:
        by_name = {one.name: one for one in nodes}
        taken = [by_name[placed.node].devices[at] for placed in field(nodes).fit(job)[1] for at in placed.devices]
        assert all(device.health is not Health.DEGRADED for device in taken)
