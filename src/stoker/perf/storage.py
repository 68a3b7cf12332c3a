"""Storage: what tiers a cluster has, how fast all its servers together read and write each, and checkpoint bursts.

Host memory is written over the PCIe lanes of the cards and through main memory, which a copy crosses twice.
Measured copies reach 0.76 of PCIe (H100: 48 of 63 GB/s, Azure node health checks; A100: 24 of 31.5, SuperBench).
GPUDirect Storage takes the file system's own path but for the stop in host memory; one drive is as fast with it as
without (Solidigm: 6.62 and 6.63 GiB/s), so what it saves is that copy and the CPU's time.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

from stoker.errors import BadInput, NotFound
from stoker.expectation import Expectation
from stoker.perf.accelerator import processor
from stoker.perf.datasheet import Quantity, find
from stoker.perf.hardware import Hardware

TierName = Literal["host memory", "NVMe", "parallel file system", "GPUDirect Storage"]
STATE_BYTES = 14.0  # of a parameter in a checkpoint: bf16 weight, float32 weight and two moments
_COPY_SHARE = 0.76
_TMPFS = 0.5  # of main memory, which Linux lets tmpfs have
_SOCKETS = 2  # of a server
# Nothing in the catalogue tells how far storage stays behind its data sheet when others use it too: the bounds say
# that it is at best as fast, and at worst half as fast.
_SLOWER = 2.0


@dataclass(frozen=True)
class Drive:
    """One NVMe drive."""

    name: str
    read: Quantity
    write: Quantity
    capacity: Quantity


@dataclass(frozen=True)
class Tier:
    """Rates are bytes/s of all servers together; 0 is not told."""

    name: TierName
    read: float
    write: float
    capacity: float  # bytes of all together; 0: not told
    shared: bool  # a server's data is there when the server is not
    stops: bool  # data stops in host memory on its way
    basis: str


@cache
def drive(name: str) -> Drive:
    """The drive called `name`. Raises NotFound with near names."""
    sheet = find("drives", name, "drive")
    if set(sheet.plain) - {"aliases"} or set(sheet.quantities) != {"read", "write", "capacity"}:
        raise BadInput(f"catalogue: {sheet.name} must have read, write and capacity, and nothing else")
    return Drive(sheet.name, *(sheet.quantities[field] for field in ("read", "write", "capacity")))


def checkpoint_bytes(parameters: float, state_bytes: float = STATE_BYTES) -> float:
    """Of a whole checkpoint, optimiser included. MLPerf Storage's 105 GiB for 8 B are 14 bytes a parameter, too."""
    return parameters * state_bytes


def host_memory(on: Hardware) -> Tier:
    """tmpfs or pinned buffers of every server."""
    link = find("links", f"PCIe {on.accelerator.pcie_generation or 4}", "link").quantities["bandwidth"]
    lanes = float(link) / 2 * _COPY_SHARE * on.per_server
    basis = f"{on.servers} servers x min({on.per_server} cards x {float(link) / 2e9:.4g} GB/s PCIe x {_COPY_SHARE}"
    memory = float("inf")
    if stated := _memory_bandwidth(on.cpu):
        memory = float(stated) * _SOCKETS / 2
        basis += f", {_SOCKETS} sockets x {stated} / 2 as a copy reads and writes)"
    else:
        basis += "; memory bandwidth is not told: no known cpu in the cluster file)"
    rate = on.servers * min(lanes, memory)
    return Tier("host memory", rate, rate, on.main_memory * _TMPFS * on.servers, False, True, basis)


def _memory_bandwidth(cpu: str) -> Quantity | None:
    """Of one socket; None for a CPU that the catalogue does not have."""
    try:
        return processor(cpu).memory_bandwidth if cpu else None
    except NotFound:
        return None


def nvme(on: Hardware, count: int, kind: Drive) -> Tier:
    """`count` drives in every server."""
    drives = on.servers * count
    read, write, capacity = (float(quantity) * drives for quantity in (kind.read, kind.write, kind.capacity))
    basis = f"{on.servers} servers x {count} {kind.name}: read {kind.read}, write {kind.write}"
    return Tier("NVMe", read, write, capacity, False, True, basis)


def parallel(on: Hardware, *, direct: bool = False) -> Tier:
    """The cluster's file system as its file describes it; `direct`: by GPUDirect Storage."""
    told = on.storage
    read = _together(told.read, told.total_read, on.servers)
    write = _together(told.write, told.total_write, on.servers)
    basis = (
        f"min({on.servers} servers x {told.write / 1e9:g} GB/s, {told.total_write / 1e9:g} GB/s in all) to write, "
        f"min({on.servers} x {told.read / 1e9:g}, {told.total_read / 1e9:g}) to read; 0: not in the cluster file"
    )
    name: TierName = "GPUDirect Storage" if direct else "parallel file system"
    return Tier(name, read, write, told.capacity, True, not direct, basis)


def write_time(size: float, tier: Tier) -> Expectation:
    """Seconds until `size` bytes of all servers are on the tier, from host memory or straight from the cards."""
    return _time("write_s", size, tier.write, tier)


def read_time(size: float, tier: Tier) -> Expectation:
    return _time("read_s", size, tier.read, tier)


def _time(name: str, size: float, rate: float, tier: Tier) -> Expectation:
    if rate <= 0:
        raise BadInput(f"how fast the {tier.name} is is not told: give storage in the cluster file")
    value = size / rate
    basis = f"{size / 1e9:,.4g} GB / {rate / 1e9:,.4g} GB/s; {tier.name}: {tier.basis}"
    return Expectation(name, value, value, value * _SLOWER, "s", basis)


def _together(each: float, total: float, servers: int) -> float:
    """The smaller of what servers and the system can, of those that are told."""
    told = [rate for rate in (each * servers, total) if rate > 0]
    return min(told, default=0.0)
