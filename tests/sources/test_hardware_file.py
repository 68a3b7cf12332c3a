"""Clusters described in YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stoker.errors import BadInput, NotFound
from stoker.sources.hardware_file import hardware, hardware_file

SHORT = """
resources:
  gpu: {type: A100-80GB, count: 8, nvlink_bandwidth: 600GB/s}
  cpu: {type: AMD EPYC 7763, cores: 64}
  memory: {size: 1TB, type: DDR5}
"""


def test_the_short_form_of_appliance_vendors_works_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "box.yaml"
    path.write_text(SHORT)
    found = hardware_file(path)
    assert (found.accelerator.name, found.count, found.scale_up_domain) == ("A100-SXM4-80GB", 8, 8)
    assert found.accelerator.scale_up_one_way == 300e9
    assert found.main_memory == 1e12
    assert found.notes == ("memory.type: DDR5 was given, but AMD EPYC 7763 takes DDR4",)


def test_the_long_form() -> None:
    found = hardware(
        {
            "name": "pod",
            "servers": 16,
            "resources": {"gpu": {"type": "H100", "count": 8}, "nic": {"count": 8, "speed": "400Gb/s"}},
            "network": {"oversubscription": 2},
            "storage": {"read": "10GB/s"},
        }
    )
    assert (found.count, found.network_per_accelerator, found.storage.read) == (128, 25e9, 10e9)


def test_a_number_unlike_the_catalogues_is_used_and_noted() -> None:
    found = hardware({"resources": {"gpu": {"type": "H100", "count": 8, "nvlink_bandwidth": "400GB/s"}}})
    assert found.accelerator.scale_up_one_way == 200e9
    assert "400 GB/s was given and is used; the catalogue has 900 GB/s" in found.notes[0]


@pytest.mark.parametrize(
    ("gpu", "said"),
    [
        (
            {"nvlink_bandwidth": "600Gb/s"},
            "600Gb/s is 75 GB/s, and bytes are usual here; write 600GB/s if bytes were",
        ),
        ({"nvlink_bandwidth": 600}, "600.0 was given; write a number above 0 with its unit, as 600GB/s"),
        ({"count": 0}, "resources.gpu.count: 0 was given; it must be 1 or more"),
        ({"type": "A1000"}, "near names: A100"),
        ({"colour": "green"}, "resources.gpu.colour: there is no such field"),
        ({"memory": "eighty"}, '"eighty" is no size'),
    ],
)
def test_bad_cards_are_one_clear_line(gpu: dict[str, Any], said: str) -> None:
    with pytest.raises((BadInput, NotFound), match=said) as refused:
        hardware({"resources": {"gpu": {"type": "A100", "count": 8, **gpu}}})
    assert "\n" not in str(refused.value)


def test_bytes_for_a_port_are_asked_about() -> None:
    with pytest.raises(BadInput, match="400GB/s is 3200 Gb/s, and bits are usual for ports"):
        hardware({"resources": {"gpu": {"type": "H100", "count": 8}, "nic": {"speed": "400GB/s"}}})


def test_no_file_no_mapping_no_yaml(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no cluster file"):
        hardware_file(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("a: [")
    with pytest.raises(BadInput, match="cannot read"):
        hardware_file(tmp_path / "bad.yaml")
    with pytest.raises(BadInput, match="a cluster is described as"):
        hardware([1])
