"""Slices, health and links of NVIDIA devices, from answers in nvidia-smi's own form; no GPU was there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from stoker.cluster import Device, Health
from stoker.engine import Key, Order
from stoker.engines.local.attempt import Attempt
from stoker.engines.local.environment import environment
from stoker.job import JobSpec, Placement, Resources
from stoker.sources.device_watch import DeviceWatch
from stoker.sources.node import local_node
from stoker.sources.nvidia_smi import nvidia_devices, parse_healths, parse_links, with_slices
from stoker.sources.nvidia_smi.pci import numa_node, root_port

BRIDGED = """\
\t\x1b[4mGPU0\tGPU1\tGPU2\tGPU3\tNIC0\tCPU Affinity\tNUMA Affinity\tGPU NUMA ID\x1b[0m
GPU0\t X \tNV4\tPXB\tSYS\tPIX\t0-31\t0\t\tN/A
GPU1\tNV4\t X \tPXB\tSYS\tPIX\t0-31\t0\t\tN/A
GPU2\tPXB\tPXB\t X \tNV12\tSYS\t32-63\t1\t\tN/A
GPU3\tSYS\tSYS\tNV12\t X \tSYS\t32-63\t1\t\tN/A
NIC0\tPIX\tPIX\tSYS\tSYS\t X

Legend:
  NV#  = Connection traversing a bonded set of # NVLinks
"""
LISTED = """\
GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-0)
  MIG 1g.10gb     Device  0: (UUID: MIG-a)
  MIG 3g.40gb     Device  1: (UUID: MIG-b)
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-1)
"""


def test_what_nvlink_joins() -> None:
    assert parse_links(BRIDGED) == {0: "0", 1: "0", 2: "2", 3: "2"}
    assert parse_links("") == {}
    chain = "GPU0 X NV1 SYS SYS\nGPU1 NV1 X SYS NV1\nGPU2 SYS SYS X NV1\nGPU3 SYS NV1 NV1 X\n"
    assert set(parse_links(chain).values()) == {"0"}


def test_health_by_memory_errors() -> None:
    errors = "GPU-0, 0, No\nGPU-1, 3, No\nGPU-2, 0, Yes\nGPU-3, [N/A], [N/A]\nGPU-4, [GPU is lost], [GPU is lost]\n"
    healths = parse_healths(errors + "GPU-5, 0, [N/A]\nGPU-6, 1, No\n", "GPU-5, Yes, No\nGPU-6, Yes, Yes\n")
    ok, degraded, failed = Health.OK, Health.DEGRADED, Health.FAILED
    assert healths == {
        "GPU-0": ok, "GPU-1": degraded, "GPU-2": degraded, "GPU-4": failed, "GPU-5": degraded, "GPU-6": failed
    }  # fmt: skip


def test_slices_stand_for_their_device() -> None:
    devices = [Device(index, "H100", 80 << 30, f"GPU-{index}", nvlink="0") for index in range(2)]
    found = with_slices(devices, LISTED)
    assert [(one.index, one.model, one.memory >> 30, one.uuid) for one in found] == [
        (100, "H100-1g.10gb", 10, "MIG-a"), (101, "H100-3g.40gb", 40, "MIG-b"), (1, "H100", 80, "GPU-1")
    ]  # fmt: skip


def test_a_job_is_shown_its_slice_by_uuid(tmp_path: Path) -> None:
    found = with_slices([Device(0, "H100", uuid="GPU-0"), Device(1, "H100", uuid="GPU-1")], LISTED)
    key = Key(1, 1)
    for devices, shown in (((101,), "MIG-b"), ((1,), "1"), ((), "")):
        spec = JobSpec(command=("x",), resources=Resources(len(devices)))
        order = Order(key, spec, (Placement("n", devices),))
        seen = environment(order, Attempt(key, tmp_path), local_node("local", found), "/")
        assert seen["CUDA_VISIBLE_DEVICES"] == shown


def test_places_on_the_bus(tmp_path: Path) -> None:
    real = tmp_path / "devices" / "pci0000:15" / "0000:15:01.0" / "0000:16:00.0" / "0000:1b:00.0"
    real.mkdir(parents=True)
    (real / "numa_node").write_text("1\n")
    bus = tmp_path / "bus"
    bus.mkdir()
    (bus / "0000:1b:00.0").symlink_to(real)
    assert root_port("00000000:1B:00.0", bus) == "0000:15:01.0"
    assert numa_node("00000000:1B:00.0", bus) == "1"
    (real / "numa_node").write_text("-1\n")
    assert numa_node("00000000:1B:00.0", bus) == ""
    assert root_port("00000000:43:00.0", bus) == ""


ANSWERS = """#!/bin/sh
case "$*" in
  *uncorrected*) echo 'GPU-0, 0, No'; echo 'GPU-1, 2, No';;
  *query-gpu*)
    echo '0, NVIDIA H100, 81559, GPU-0, 00000000:1B:00.0'
    echo '1, NVIDIA H100, 81559, GPU-1, 00000000:1C:00.0';;
  *topo*) echo 'GPU0 X NV18'; echo 'GPU1 NV18 X';;
  -L) echo 'GPU 0: NVIDIA H100 (UUID: GPU-0)'; echo 'GPU 1: NVIDIA H100 (UUID: GPU-1)';;
  *) exit 2;;
esac
"""


def test_all_that_the_tool_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An old driver does not know what remapped rows are; the rest is known all the same."""
    (tmp_path / "nvidia-smi").write_text(ANSWERS)
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    devices = nvidia_devices()
    assert [(one.health, one.nvlink) for one in devices] == [(Health.OK, "0"), (Health.DEGRADED, "0")]


def test_devices_fall_ill_while_the_platform_runs() -> None:
    one, two = Device(0, "H100", uuid="GPU-0"), Device(1, "H100", uuid="GPU-1")
    told: list[tuple[Device, ...]] = [(one, two)]
    watch = DeviceWatch(lambda: told[0], clock=lambda: 0.0)
    first = watch.devices()
    watch.look()
    assert watch.devices() is first
    told[0] = (replace(one, health=Health.DEGRADED),)
    watch.look()
    assert [device.health for device in watch.devices()] == [Health.DEGRADED, Health.FAILED]
    told[0] = ()  # the driver does not answer
    watch.look()
    assert [device.health for device in watch.devices()] == [Health.DEGRADED, Health.FAILED]
    told[0] = (one, two)  # as after a reset
    watch.look()
    assert watch.devices() == first
