"""Topology files: YAML and tables, with other people's words for levels; what engines tell stays below it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.cluster import Device, Node
from stoker.errors import BadInput, StokerError
from stoker.node_topology import NodeTopology, with_topology
from stoker.topology import Level
from stoker.topology_file import levels_told, read_topology

LEAF, POD, CORE = Level.LEAF, Level.POD, Level.CORE
SHARED = Path(os.environ.get("STOKER_SHARED", Path(__file__).parents[2] / "shared"))
RECORDED = SHARED / "traces" / "lingjun" / "topo.csv"


def test_yaml() -> None:
    told = read_topology("""
        nodes:
          gpu[01-02]: {rack: s1, pod: p1}
          gpu03: {leaf: 7}
        devices:
          gpu[01-03]: {nvlink: all, pcie: [0-1, 2-3]}
    """)
    assert list(told) == ["gpu01", "gpu02", "gpu03"]
    assert told["gpu02"].domains == {LEAF: "s1", POD: "p1"}
    assert told["gpu03"].domains == {LEAF: "7"}
    assert told["gpu01"].groups[Level.PCIE] == ((0, 1), (2, 3))
    assert levels_told(told) == [Level.PCIE, Level.NVLINK, LEAF, POD]


def test_a_table_with_other_words() -> None:
    told = read_topology("ip,DSW,PSW,ASW\n10.0.0.1,G6,P10,S14\n10.0.0.2,G6,,S2\n")
    assert told["10.0.0.1"].domains == {CORE: "G6", POD: "P10", LEAF: "S14"}
    assert told["10.0.0.2"].domains == {CORE: "G6", LEAF: "S2"}


@pytest.mark.skipif(not RECORDED.exists(), reason="no recorded traces beside the checkout; set STOKER_SHARED")
def test_the_network_of_a_real_cluster() -> None:
    told = read_topology(RECORDED.read_text())
    assert len(told) == len(RECORDED.read_text().splitlines()) - 1
    assert levels_told(told) == [LEAF, POD, CORE]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "a mapping of nodes: and devices:"),
        ("racks: {}", "a mapping of nodes: and devices:"),
        ("nodes: [a]", "nodes is a mapping"),
        ("nodes: {a: {shelf: 1}}", 'level "shelf" was given'),
        ("nodes: {a: {pcie: 1}}", "groups devices of a node"),
        ("devices: {a: {leaf: all}}", "is between nodes"),
        ("devices: {a: {pcie: [0-1, 1-2]}}", "the same index stands in two"),
        ("devices: {a: {pcie: [x]}}", "is no group of devices"),
        ("nodes: {a: {leaf: }}", "1 to 256 printable characters"),
        ("leaf,pod\ns1,p1\n", "one column that names the node"),
        ("node,leaf\n,s1\n", "line 2"),
        ("node,leaf\na,s1,p1\n", "line 2"),
        ("nodes: {a: {leaf: 1", "topology file"),
        ('nodes: {a: {leaf: "\\UFFFFFFFF"}}', "topology file"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(text: str, says: str) -> None:
    with pytest.raises(BadInput, match=r"^topology file: ") as caught:
        read_topology(text)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=200))
def test_no_text_breaks_the_reader(text: str) -> None:
    with suppress(StokerError):
        read_topology(text)


def test_groups_count_where_we_choose_the_devices() -> None:
    devices = tuple(Device(index, "H100") for index in range(4))
    told = NodeTopology({LEAF: "s2"}, {Level.PCIE: ((0, 1), (2, 3)), Level.NVLINK: ((0, 1, 2, 3),)})
    here = with_topology(Node("a", "local", 8, 1, devices), told)
    there = with_topology(Node("a", "slurm", 8, 1, devices, domains={LEAF: "s1", POD: "p"}), told)
    assert [device.pcie for device in here.devices] == ["0", "0", "1", "1"]
    assert [(device.pcie, device.nvlink) for device in there.devices] == [("", "0")] * 4
    assert there.domains == {LEAF: "s2", POD: "p"}
