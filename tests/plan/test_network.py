"""Networks hold what wiring must: every port once, everything joined, lists as long as the counts say."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.errors import BadInput, Unfit
from stoker.perf.network import switch
from stoker.plan.network import Network, Topology, Wish, design
from stoker.plan.network_lists import Cable, addresses, bill, cables
from stoker.plan.network_picture import picture

SWITCHES = ("8x400Gb/s", "16x400Gb/s", "32x400Gb/s", "QM9700", "SN5600")
GB400 = 50e9


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """Networks that can be; the switches are small so that all three layers come up often."""
    wish = Wish(
        servers=draw(st.integers(1, 300)),
        nics=draw(st.integers(1, 9)),
        speed=GB400,
        leaf=switch(draw(st.sampled_from(SWITCHES))),
        spine=switch(draw(st.sampled_from(SWITCHES))),
        topology=draw(st.sampled_from(("rail", "spine-leaf", "three-layer"))),
        oversubscription=draw(st.sampled_from((1.0, 1.5, 2.0, 3.0))),
        spine_oversubscription=draw(st.sampled_from((1.0, 2.0))),
    )
    try:
        return design(wish)
    except Unfit:
        return draw(networks())


@given(networks())
@settings(deadline=None, max_examples=150)
def test_every_server_port_is_cabled_once_and_no_switch_port_twice(network: Network) -> None:
    wired = list(cables(network))
    ends = Counter((c.lower, c.lower_port) for c in wired) + Counter((c.upper, c.upper_port) for c in wired)
    assert max(ends.values()) == 1
    servers = {(c.lower, c.lower_port) for c in wired if c.layer == "server"}
    assert len(servers) == network.wish.ports


@given(networks())
@settings(deadline=None, max_examples=100)
def test_lists_are_as_long_as_the_counts(network: Network) -> None:
    wired = list(cables(network))
    layers = Counter(c.layer for c in wired)
    counted = {"server": network.wish.ports, "leaf-spine": network.leaf_links, "spine-core": network.spine_links}
    assert layers == {layer: count for layer, count in counted.items() if count}
    upper = {layer: {c.upper for c in wired if c.layer == layer} for layer in counted}
    assert [len(names) for names in upper.values()] == [network.leaves, network.spines, network.cores]
    assert sum(item.count for item in bill(network) if item.use in ("leaf", "spine", "core")) == sum(
        len(names) for names in upper.values()
    )


@given(networks())
@settings(deadline=None, max_examples=100)
def test_no_switch_has_more_links_than_ports(network: Network) -> None:
    used = Counter(c.upper for c in cables(network)) + Counter(
        c.lower for c in cables(network) if c.layer != "server"
    )
    radix = max(network.wish.leaf.radix(GB400), network.wish.spine.radix(GB400))
    assert max(used.values()) <= radix
    leaves = [count for name, count in used.items() if name.startswith("leaf")]
    assert max(leaves) <= network.wish.leaf.radix(GB400)


@given(networks())
@settings(deadline=None, max_examples=60)
def test_every_pair_of_leaves_and_so_of_rails_is_joined_by_way_of_one_top_switch(network: Network) -> None:
    """Up and down without turning back: any leaf meets any other at a spine, or at a core."""
    wired = list(cables(network))
    above: dict[str, set[str]] = defaultdict(set)
    for cable in wired:
        if cable.layer != "server":
            above[cable.lower].add(cable.upper)
    leaves = sorted({c.upper for c in wired if c.layer == "server"})
    reach = {leaf: above[leaf] | {core for spine in above[leaf] for core in above[spine]} for leaf in leaves}
    assert all(reach[a] & reach[b] for i, a in enumerate(leaves) for b in leaves[i + 1 :])


@given(networks())
@settings(deadline=None, max_examples=60)
def test_transceivers_are_as_many_as_cages_with_a_link(network: Network) -> None:
    wired = list(cables(network))

    def cages(layer: str) -> int:
        switches = [(c.upper, c.upper_port) for c in wired if c.layer == layer]
        if layer != "server":
            switches += [(c.lower, c.lower_port) for c in wired if c.layer == layer]
        return len({(name, port.partition("/")[0]) for name, port in switches})

    uses = {"leaf, to servers": "server", "leaf to spine": "leaf-spine", "spine to core": "spine-core"}
    for item in bill(network):
        if item.use in uses and not item.what.startswith("fibre"):
            assert item.count == cages(uses[item.use])


@given(networks())
@settings(deadline=None, max_examples=60)
def test_oversubscription_is_no_more_than_asked_for(network: Network) -> None:
    assert network.leaf_ratio <= network.wish.oversubscription + 1e-9
    assert network.spine_ratio <= network.wish.spine_oversubscription + 1e-9


@given(networks())
@settings(deadline=None, max_examples=60)
def test_every_port_has_an_address_of_its_own_in_its_leaf_s_subnet(network: Network) -> None:
    given_out = list(addresses(network, "10.0.0.0/8"))
    assert len({a.address for a in given_out}) == len(given_out) == network.wish.ports
    assert not {a.address for a in given_out} & {a.gateway for a in given_out}
    wired = {(c.lower, c.lower_port): (c.upper, c.upper_port) for c in cables(network) if c.layer == "server"}
    assert {(a.server, a.nic): (a.leaf, a.leaf_port) for a in given_out} == wired


def plan(servers: int, model: str = "QM9700", topology: Topology = "rail", ratio: float = 1) -> Network:
    return design(Wish(servers, 8, GB400, switch(model), switch(model), topology, ratio))


@pytest.mark.parametrize(
    ("servers", "leaves", "spines", "cores"), [(31, 8, 4, 0), (127, 32, 16, 0), (512, 128, 128, 64)]
)
def test_switch_counts_of_the_superpod_design(servers: int, leaves: int, spines: int, cores: int) -> None:
    """NVIDIA DGX SuperPOD H100 with Quantum-2: one, four and sixteen scalable units."""
    network = plan(servers)
    assert (network.leaves, network.spines, network.cores) == (leaves, spines, cores)


def test_port_r_of_every_server_of_a_group_meets_at_its_leaf_r() -> None:
    rails: dict[str, set[str]] = defaultdict(set)
    for cable in cables(plan(127)):
        if cable.layer == "server":
            rails[cable.upper].add(cable.lower_port)
    assert all(len(ports) == 1 for ports in rails.values())


@pytest.mark.parametrize("topology", ["rail", "spine-leaf", "three-layer"])
def test_the_picture_draws_a_line_for_every_two_boxes_that_cables_join(topology: Topology) -> None:
    """Few enough switches that all are drawn; servers are drawn in the groups that share their leaves."""
    small = switch("8x400Gb/s")
    network = design(Wish(12, 2, GB400, small, small, topology))
    joined = set()
    for cable in cables(network):
        server = cable.layer == "server"
        lower = (int(cable.lower[4:]) - 1) // network.group_servers if server else cable.lower
        joined.add((lower, cable.upper.partition("-core")[0]))  # the cores of a plane are one box
    assert max(network.groups, network.leaves, network.spines, network.planes) <= 12
    assert picture(network).count('class="link"') == len(joined)


def test_a_hundred_thousand_cards() -> None:
    network = plan(12_500, "SN5600")
    wired = list(cables(network))
    assert network.layers == 3
    assert len(wired) == network.wish.ports + network.leaf_links + network.spine_links
    assert isinstance(wired[-1], Cable)


@pytest.mark.parametrize(
    ("servers", "topology", "said"),
    [(12_500, "rail", "use switches with more ports"), (600, "spine-leaf", "--topology three-layer")],
)
def test_what_cannot_be_wired_says_what_to_change(servers: int, topology: Topology, said: str) -> None:
    with pytest.raises(Unfit, match=said):
        plan(servers, topology=topology)


def test_bad_wishes_are_refused() -> None:
    with pytest.raises(BadInput, match="0 servers"):
        plan(0)
    with pytest.raises(BadInput, match=r"oversubscription 0\.5"):
        plan(8, ratio=0.5)
    with pytest.raises(BadInput, match="QM9700 has no ports of 800 Gb/s; it has 400 or 200 Gb/s"):
        Wish(8, 8, 100e9, switch("QM9700"), switch("QM9700"))
    with pytest.raises(BadInput, match="give a larger block"):
        list(addresses(plan(127), "10.0.0.0/24"))
    with pytest.raises(BadInput, match="write a block"):
        list(addresses(plan(127), "ten"))
