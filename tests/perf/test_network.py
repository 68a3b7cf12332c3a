"""The network's catalogue is read whole, and a described cluster becomes the fabric it should."""

from __future__ import annotations

import pytest

from stoker.errors import BadInput, NotFound
from stoker.perf.datasheet import sheets
from stoker.perf.network import fabric, nic, optic_for, optics, switch
from stoker.sources.hardware_file import hardware


def test_every_entry_of_the_catalogue_can_be_read() -> None:
    assert all(0 < float(nic(name).share) <= 1 for name in sheets("nics"))
    assert all(switch(name).ports > 1 for name in sheets("switches"))
    assert len(optics()) == len(sheets("optics"))


def test_a_switch_splits_its_ports() -> None:
    assert switch("Quantum-2").radix(50e9) == 64
    assert switch("QM9790").radix(25e9) == 128
    assert switch("SN5600").radix(50e9) == 128
    assert switch("QM9700").radix(100e9) == 0
    assert switch("64x400Gb/s").radix(50e9) == 64
    assert switch("QM9700").per_module(50e9) == switch("SN5600").per_module(50e9) == 2


@pytest.mark.parametrize(
    ("name", "said"),
    [("QM970", "near names: QM9700"), ("64x400GB/s", "bits are usual"), ("1x400Gb/s", "2 or more")],
)
def test_unknown_switches_are_told_plainly(name: str, said: str) -> None:
    with pytest.raises((BadInput, NotFound), match=said):
        switch(name)


def test_the_optic_of_the_least_reach_that_suffices() -> None:
    near, far = optic_for("switch", 50e9, 30, copper=False), optic_for("switch", 50e9, 80, copper=False)
    assert (near and near.name, far and far.name) == ("MMA4Z00-NS", "MMS4X00-NS")
    assert optic_for("server", 50e9, 5, copper=True) is None


def described(gpu: str, count: int = 8, **network: object) -> dict[str, object]:
    nic = {"type": "CX7", "count": 8, "speed": "400Gb/s"}
    return {"servers": 4, "resources": {"gpu": {"type": gpu, "count": count}, "nic": nic}, "network": network}


def test_a_cluster_of_nvswitch_servers() -> None:
    found = fabric(hardware(described("H100", oversubscription=3)), leaf_servers=2)
    assert (found.domain, found.scale_up, found.network) == (8, 450e9, 400e9)
    assert found.multicast
    assert found.network_of(8, 4) == found.network_of(8, 2) / 3


@pytest.mark.parametrize("gpu", ["L40S", "A100-PCIe-80GB"])
def test_cards_without_a_switch_meet_over_pcie(gpu: str) -> None:
    """A bridge joins two; the eight of a server meet over PCIe all the same."""
    found = fabric(hardware(described(gpu)))
    assert (found.domain, found.link, found.multicast) == (8, "pcie", False)
    assert found.scale_up == pytest.approx(31.5e9)


def test_a_rack_is_one_domain_with_the_ports_of_all_its_servers() -> None:
    found = fabric(hardware({**described("GB200", 4), "servers": 18}))
    assert (found.domain, found.network) == (72, 18 * 400e9)
