"""Collectives: bounds that physics sets, choices that NCCL is known to make, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.errors import BadInput
from stoker.perf.collective import (
    Kind,
    basis,
    ceiling,
    collective_seconds,
    expected_bus_bandwidth,
    expected_time,
)
from stoker.perf.fabric import Fabric

H200 = Fabric(domain=8, scale_up=450e9, network=400e9, multicast=True)
B200 = Fabric(domain=8, scale_up=900e9, network=400e9, multicast=True, architecture="sm100")
A100 = Fabric(domain=8, scale_up=300e9, network=200e9, architecture="sm80")
PCIE = Fabric(domain=4, scale_up=24e9, network=12.5e9, architecture="sm80", link="pcie")
FABRICS = (H200, B200, A100, PCIE)
GIB = 1 << 30

kinds = st.sampled_from(get_args(Kind))
fabrics = st.sampled_from(FABRICS)
sizes = st.integers(1, 64 * GIB)


@given(kinds, fabrics, sizes, st.integers(2, 512))
def test_larger_messages_take_no_less_time_within_one_algorithm(
    kind: Kind, fabric: Fabric, size: int, ranks: int
) -> None:
    """Where the tuner changes its mind, time may fall: it does on real machines. Not within one algorithm."""
    smaller, larger = size, size * 2
    if (name := basis(kind, smaller, ranks, fabric).split(":")[0]) == basis(kind, larger, ranks, fabric).split(":")[
        0
    ] and not name.startswith("tree"):
        assert collective_seconds(kind, larger, ranks, fabric) >= collective_seconds(kind, smaller, ranks, fabric)


@given(kinds, fabrics, sizes, st.integers(2, 512))
def test_nothing_beats_the_ceiling(kind: Kind, fabric: Fabric, size: int, ranks: int) -> None:
    expected = expected_bus_bandwidth(kind, size, ranks, fabric)
    if kind != "send_recv" or ranks == 2:
        assert expected.value <= ceiling(kind, ranks, fabric).value * 1.0001


@given(kinds, fabrics, sizes, st.integers(1, 512))
def test_bounds_hold_the_value(kind: Kind, fabric: Fabric, size: int, ranks: int) -> None:
    expected = expected_time(kind, size, ranks, fabric)
    assert expected.value == collective_seconds(kind, size, ranks, fabric)
    assert 0 <= expected.low <= expected.value <= expected.high


def test_a_library_that_nobody_measured_has_wide_bounds() -> None:
    unseen = replace(A100, architecture="DaVinci")
    known, guessed = (expected_time("all_reduce", GIB, 8, fabric) for fabric in (A100, unseen))
    assert guessed.value == known.value
    assert guessed.high == pytest.approx(2 * known.high)
    assert "no measurement of this vendor's library" in guessed.basis
    assert "no measurement" not in known.basis


@given(fabrics, sizes, st.integers(2, 64))
def test_a_slower_network_is_never_faster(fabric: Fabric, size: int, servers: int) -> None:
    ranks = servers * fabric.domain
    crowded = Fabric(
        fabric.domain, fabric.scale_up, fabric.network, oversubscription=4, architecture=fabric.architecture,
        link=fabric.link, multicast=fabric.multicast,
    )  # fmt: skip
    for kind in ("all_gather", "all_to_all"):
        assert collective_seconds(kind, size, ranks, crowded) >= collective_seconds(kind, size, ranks, fabric)


def test_oversubscription_begins_above_the_leaf() -> None:
    leaf = Fabric(8, 450e9, 400e9, oversubscription=4, leaf_domains=16)
    one, many = leaf.network_of(8, 16), leaf.network_of(8, 17)
    assert one == 4 * many


@pytest.mark.parametrize(
    ("fabric", "ranks", "multicast"),
    [(H200, 4, False), (H200, 5, True), (B200, 5, False), (B200, 6, True)],
)
def test_multicast_is_chosen_from_as_many_ranks_as_on_real_machines(
    fabric: Fabric, ranks: int, multicast: bool
) -> None:
    """ml-engineering measured both settings by rank count: where they are equal, NCCL does not use multicast."""
    assert basis("all_reduce", 8 * GIB, ranks, fabric).startswith("nvls") is multicast


@pytest.mark.parametrize(
    ("kind", "fabric", "ranks", "per_domain", "measured"),
    [
        ("all_reduce", H200, 8, 0, 482.3),  # ml-engineering
        ("all_reduce", B200, 8, 0, 845.7),  # ml-engineering
        ("all_reduce", A100, 8, 0, 234.9),  # ml-engineering
        ("all_gather", H200, 8, 0, 361.4),  # ml-engineering
        ("all_reduce", Fabric(8, 450e9, 200e9, multicast=True), 16, 0, 353.9),  # d-robotics, four ports of 400 Gb/s
        ("all_to_all", Fabric(8, 450e9, 200e9, multicast=True), 16, 0, 36.8),  # d-robotics
    ],
)
def test_large_messages_reach_what_was_measured(
    kind: Kind, fabric: Fabric, ranks: int, per_domain: int, measured: float
) -> None:
    expected = expected_bus_bandwidth(kind, 16 * GIB, ranks, fabric, per_domain)
    assert expected.value == pytest.approx(measured, rel=0.06)
    assert expected.low < measured < expected.high


def test_a_network_that_reorders_gets_protocol_simple_and_large_trees_all_of_it() -> None:
    """Two p4de: 16 GiB at 78.3 GB/s, all that the measured share of four ports of 100 Gb/s allows."""
    p4de = Fabric(8, 300e9, 50e9, network_share=0.836, architecture="sm80", whole_lines=False)
    assert all(
        basis("all_reduce", 1 << power, 16, p4de).split(":")[0].endswith("Simple") for power in range(10, 34)
    )
    assert expected_bus_bandwidth("all_reduce", 16 * GIB, 16, p4de).value == pytest.approx(78.3, rel=0.03)


def test_one_rank_in_each_domain_has_its_share_of_the_ports() -> None:
    alone = collective_seconds("all_gather", GIB, 8, H200, per_domain=1)
    assert GIB * 7 / 8 / alone < 50e9
    assert alone > collective_seconds("all_gather", GIB, 8, H200)


def test_one_rank_moves_nothing() -> None:
    assert collective_seconds("all_reduce", GIB, 1, H200) == 0
    assert expected_bus_bandwidth("all_reduce", GIB, 1, H200).value == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("all_reduse", 1, 8, H200), "near names: all_reduce"),
        (("all_reduce", 1, 0, H200), "among 0 ranks"),
        (("all_reduce", 1, 16, H200, 9), "1 to 8 are allowed"),
        (("all_reduce", 1, 16, Fabric(8, 450e9)), "no network joins them"),
    ],
)
def test_what_cannot_be_is_refused(arguments: tuple[Kind, float, int, Fabric], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        expected_time(*arguments)


def test_impossible_fabrics_are_refused() -> None:
    with pytest.raises(BadInput, match="oversubscription 0"):
        Fabric(8, 450e9, oversubscription=0)
    with pytest.raises(BadInput, match="need the bandwidth"):
        Fabric(8, 0)
    with pytest.raises(BadInput, match="a domain of 0"):
        Fabric(0, 450e9)
