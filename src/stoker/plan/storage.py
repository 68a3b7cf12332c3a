"""What storage a training needs: for its checkpoints, its data and its restarts, and which tier gives it.

A checkpoint stops training until the states are safe from the next step. How often to take one follows Young (1974)
and Daly (2006): every sqrt(2 x stop x MTBF), which makes what is lost to stops equal to what is lost to failures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from stoker.errors import BadInput
from stoker.expectation import Expectation
from stoker.perf.goodput import DEVICE_MTBF, RESTART
from stoker.perf.hardware import Hardware
from stoker.perf.storage import (
    STATE_BYTES,
    Drive,
    Tier,
    checkpoint_bytes,
    host_memory,
    nvme,
    parallel,
    read_time,
    write_time,
)

_SHORTEST = 60.0  # s between checkpoints
_DRAIN = 0.5  # of the interval in which the file system may be busy with a checkpoint
_COST = 0.005  # of the time, that waiting for the file system may cost: what its need follows from
_BURSTS = 2.0  # reads at this multiple of the mean: shuffling, workers in step
_FULL = 0.8  # of a file system, beyond which it slows down


@dataclass(frozen=True)
class Wish:
    """A training and what is wanted of its storage. Sizes are bytes, times are seconds."""

    hardware: Hardware
    parameters: float
    state_bytes: float = STATE_BYTES  # of a parameter, in a checkpoint
    every: float = 0.0  # between checkpoints; 0: as Young and Daly
    keep: int = 3  # checkpoints
    dataset: float = 0.0
    data_rate: float = 0.0  # bytes/s that all cards together take in
    restart_within: float = 300.0  # of reading the checkpoint
    drives: int = 0  # of a server
    drive: Drive | None = None
    device_mtbf: float = DEVICE_MTBF

    def __post_init__(self) -> None:
        positive = {"parameters": self.parameters, "bytes of a parameter": self.state_bytes,
                    "device MTBF": self.device_mtbf, "time to restart": self.restart_within}  # fmt: skip
        for what, value in positive.items():
            if not value > 0:
                raise BadInput(f"{what} {value:g} was given; it must be above 0")
        if self.keep < 1:
            raise BadInput(f"--keep {self.keep} was given; at least 1 checkpoint must be kept")
        if self.every < 0 or self.dataset < 0 or self.data_rate < 0 or self.drives < 0:
            raise BadInput("times, sizes, rates and counts must not be below 0")


@dataclass(frozen=True)
class Way:
    """One way to take checkpoints. None: the file system is not described."""

    name: str
    stop: Expectation  # s that training stands still
    interval: float
    loss: float  # share of time, failures included
    restart: Expectation | None  # s to read it back
    survives: bool | None  # the loss of a server: it is on the file system before the next one is taken


@dataclass(frozen=True)
class Need:
    """One thing the file system must have, and whether what is described has it; None: it is not described."""

    name: str
    amount: Expectation
    there: float
    enough: bool | None


@dataclass(frozen=True)
class Cache:
    """A tier of the servers themselves that could hold the data after the first pass."""

    tier: Tier
    holds: bool | None  # None: its capacity is not told


@dataclass(frozen=True)
class StoragePlan:
    checkpoint: Expectation  # bytes
    mtbf: float  # s, of all devices together
    ways: tuple[Way, ...]
    needs: tuple[Need, ...]
    caches: tuple[Cache, ...]


def decide(wish: Wish) -> StoragePlan:
    """Ways to take checkpoints, least loss first; what the file system must have; where data can be cached."""
    size = checkpoint_bytes(wish.parameters, wish.state_bytes)
    basis = f"{wish.parameters / 1e9:,.4g} B parameters x {wish.state_bytes:g} bytes"
    ways = _ways(wish, size)
    local = (*_local(wish), host_memory(wish.hardware))
    caches = tuple(Cache(tier, wish.dataset <= tier.capacity if tier.capacity else None) for tier in local)
    return StoragePlan(
        Expectation("checkpoint_bytes", size, size, size, "B", basis),
        _mtbf(wish),
        tuple(sorted(ways, key=lambda way: way.loss)),
        _needs(wish, size),
        caches if wish.dataset else (),
    )


def _ways(wish: Wish, size: float) -> list[Way]:
    memory, shared = host_memory(wish.hardware), parallel(wish.hardware)
    copy = write_time(size, memory)
    ways = [_way(wish, "in host memory, then in the background", copy, memory, shared, size)]
    for tier in _local(wish):
        stop = _sum(copy, write_time(size, tier))
        ways.append(_way(wish, "on NVMe, then in the background", stop, tier, shared, size))
    if shared.write:
        ways.append(_way(wish, "on the file system", _sum(copy, write_time(size, shared)), shared, shared, size))
        direct = parallel(wish.hardware, direct=True)
        stop = write_time(size, direct)
        ways.append(_way(wish, "on the file system by GPUDirect Storage", stop, direct, shared, size))
    return ways


def _way(wish: Wish, name: str, stop: Expectation, tier: Tier, shared: Tier, size: float) -> Way:
    """A server lost before its part has reached the file system costs the checkpoint before."""
    mtbf = _mtbf(wish)
    drain = 0.0 if tier.shared else size / shared.write if shared.write else 0.0
    interval = wish.every or max(_SHORTEST, drain / _DRAIN, math.sqrt(2 * stop.value * mtbf))
    lost = interval / 2 + (0.0 if tier.shared else drain)
    loss = min(1.0, stop.value / interval + (lost + RESTART) / mtbf)
    restart = read_time(size, shared) if shared.read else None
    survives = True if tier.shared else drain <= interval if shared.write else None
    return Way(name, stop, interval, loss, restart, survives)


def _local(wish: Wish) -> list[Tier]:
    return [nvme(wish.hardware, wish.drives, wish.drive)] if wish.drives and wish.drive else []


def _needs(wish: Wish, size: float) -> tuple[Need, ...]:
    """A failure costs the time of writing twice: as half the shortest interval, and as what is not written yet."""
    shared, told = parallel(wish.hardware), wish.hardware.storage
    if wish.every:
        drain, why = wish.every * _DRAIN, f"half of {wish.every:,.0f} s between checkpoints"
    else:
        drain = max(_SHORTEST * _DRAIN, _COST / 2 * _mtbf(wish))
        why = f"max({_SHORTEST * _DRAIN:g} s, {_COST:.1%} / 2 of {_mtbf(wish):,.0f} s between failures)"
    write = _exact("write", size / drain, "B/s", f"{size / 1e9:,.4g} GB in {drain:,.0f} s: {why}")
    reads = {
        f"{size / 1e9:,.4g} GB checkpoint in {wish.restart_within:g} s": size / wish.restart_within,
        f"{_BURSTS:g} x {wish.data_rate / 1e9:,.4g} GB/s of data": _BURSTS * wish.data_rate,
    }
    most = max(reads, key=lambda why: reads[why])
    space = (wish.dataset + wish.keep * size) / _FULL
    why = f"({wish.dataset / 1e12:,.4g} TB data + {wish.keep} x {size / 1e12:,.4g} TB) / {_FULL:g} filled"
    return (
        _need(write, shared.write),
        _need(_exact("read", reads[most], "B/s", most), shared.read),
        _need(_exact("capacity", space, "B", why), told.capacity),
    )


def _need(amount: Expectation, there: float) -> Need:
    return Need(amount.name, amount, there, amount.value <= there if there else None)


def _mtbf(wish: Wish) -> float:
    return wish.device_mtbf / wish.hardware.count


def _sum(first: Expectation, second: Expectation) -> Expectation:
    return Expectation(
        "stop_s", first.value + second.value, first.low + second.low, first.high + second.high, "s",
        f"{first.basis}; then {second.basis}",
    )  # fmt: skip


def _exact(name: str, value: float, unit: str, basis: str) -> Expectation:
    return Expectation(name, value, value, value, unit, basis)
