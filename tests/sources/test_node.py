"""What this machine says of itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stoker.errors import BadInput
from stoker.sources.declared import declared_devices
from stoker.sources.device_watch import DeviceWatch
from stoker.sources.node import local_node
from stoker.sources.nvidia_smi import model_of, nvidia_devices, parse


def test_the_node_has_the_cpus_this_process_may_use(tmp_path: Path) -> None:
    node = local_node("local", cgroup=tmp_path)
    assert node.cpus == len(os.sched_getaffinity(0))
    assert node.memory == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_a_cgroup_v2_cuts_both(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    (tmp_path / "memory.max").write_text(f"{1 << 30}\n")
    node = local_node("local", cgroup=tmp_path)
    assert (node.cpus, node.memory) == (1, 1 << 30)


def test_a_cgroup_v1_cuts_both(tmp_path: Path) -> None:
    for folder in ("cpu", "memory"):
        (tmp_path / folder).mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("50000\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text(f"{2 << 30}\n")
    node = local_node("local", cgroup=tmp_path)
    assert (node.cpus, node.memory) == (1, 2 << 30)


@pytest.mark.parametrize(("cpu", "memory"), [("max 100000", "max"), ("-1", "9223372036854771712"), ("", "")])
def test_no_limit_is_no_limit(tmp_path: Path, cpu: str, memory: str) -> None:
    (tmp_path / "cpu.max").write_text(cpu)
    (tmp_path / "memory.max").write_text(memory)
    node = local_node("local", cgroup=tmp_path)
    assert node.cpus == len(os.sched_getaffinity(0))
    assert node.memory > 1 << 28


def test_declared_devices() -> None:
    devices = declared_devices("H100:2, huawei/910B:1")
    assert [(d.index, d.model, d.vendor) for d in devices] == [
        (0, "H100", "nvidia"),
        (1, "H100", "nvidia"),
        (2, "910B", "huawei"),
    ]
    assert declared_devices("") == ()


@pytest.mark.parametrize("text", ["H100", "H100:x", ":8", "H100:8888", "intel/X:1", "H100:8;T4:1"])
def test_misspelt_devices_are_one_line(text: str) -> None:
    with pytest.raises(BadInput, match="write for example H100:8"):
        declared_devices(text)


# Lines as nvidia-smi 535 and 550 print them for this query.
RECORDED = """\
0, NVIDIA H100 80GB HBM3, 81559, GPU-8a3f6c2e-1f1c-9a56-2a6e-0a7c3a1f2b11, 00000000:1B:00.0
1, NVIDIA H20, 97871, GPU-1d2c3b4a-0000-1111-2222-333344445555, 00000000:43:00.0
2, NVIDIA A100-SXM4-80GB, 81920, GPU-2, 00000000:52:00.0
3, Tesla T4, 15360, GPU-3, 00000000:61:00.0
4, NVIDIA GeForce RTX 4090, 24564, GPU-4, 00000000:9D:00.0
5, NVIDIA RTX A6000, [N/A], GPU-5, 00000000:C3:00.0
"""


def test_nvidia_devices_have_the_names_people_ask_for() -> None:
    devices = parse(RECORDED)
    assert [device.model for device in devices] == ["H100", "H20", "A100", "T4", "RTX 4090", "RTX A6000"]
    assert [device.memory >> 30 for device in devices] == [79, 95, 80, 15, 23, 0]
    assert parse("No devices were found\n") == ()
    assert model_of("") == ""


@pytest.mark.parametrize(
    ("script", "count"),
    [("#!/bin/sh\necho '0, NVIDIA H20, 97871, GPU-1, 00000000:1B:00.0'\n", 1), ("#!/bin/sh\nexit 9\n", 0), ("", 0)],
)
def test_the_driver_is_asked_by_its_own_tool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, count: int
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    if script:
        (tmp_path / "nvidia-smi").write_text(script)
        (tmp_path / "nvidia-smi").chmod(0o755)
    assert len(nvidia_devices()) == count


def test_devices_without_a_uuid_stay_what_they_are() -> None:
    declared = declared_devices("H100:2,T4:1")
    watch = DeviceWatch(lambda: declared)
    watch.look()
    assert watch.devices() == declared
