"""Storage: what checkpoints cost, and what the file system must have."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.errors import BadInput
from stoker.perf.hardware import Hardware
from stoker.perf.storage import checkpoint_bytes, drive, host_memory, nvme, parallel
from stoker.plan.storage import StoragePlan, Way, Wish, decide
from stoker.sources.hardware_file import hardware

STORAGE = {"read": "10GB/s", "write": "5GB/s", "total_read": "500GB/s", "total_write": "250GB/s", "capacity": "2PB"}


def cluster(servers: int = 128, **more: Any) -> Hardware:
    resources = {"gpu": {"type": "H100", "count": 8}, "cpu": {"type": "Xeon 8480+"}, "memory": {"size": "2TiB"}}
    return hardware({"servers": servers, "resources": resources, **more})


def planned(**more: Any) -> StoragePlan:
    wish: dict[str, Any] = {"hardware": cluster(storage=STORAGE), "parameters": 70e9}
    return decide(Wish(**(wish | more)))


def way(plan: StoragePlan, start: str) -> Way:
    return next(way for way in sorted(plan.ways, key=lambda way: len(way.name)) if way.name.startswith(start))


@pytest.mark.parametrize(("parameters", "gib"), [(8.03e9, 105), (70.6e9, 912), (405.9e9, 5290)])
def test_checkpoint_sizes_of_mlperf_storage(parameters: float, gib: float) -> None:
    assert checkpoint_bytes(parameters) / 2**30 == pytest.approx(gib, rel=0.02)


def test_tiers_by_hand() -> None:
    """Memory: 8 x 63 x 0.76 GB/s of PCIe, or 2 sockets x 307.2 / 2; the smaller counts, for each server."""
    on = cluster(10, storage=STORAGE)
    assert host_memory(on).write == pytest.approx(10 * 307.2e9)
    assert host_memory(on).capacity == 10 * 2**40
    assert nvme(on, 4, drive("Gen4")).write == pytest.approx(10 * 4 * 3.5e9)
    assert parallel(on).write == 10 * 5e9  # the servers are the bottleneck
    assert parallel(cluster(1000, storage=STORAGE)).write == 250e9  # the system is


def test_gpudirect_storage_saves_the_copy_and_no_more() -> None:
    plan = planned()
    through, direct = way(plan, "on the file system"), way(plan, "on the file system by GPUDirect")
    assert direct.stop.value == pytest.approx(980e9 / 250e9)
    assert through.stop.value == pytest.approx(980e9 / 250e9 + 980e9 / (128 * 307.2e9))


def test_young_and_daly_lose_as_much_to_stops_as_to_failures() -> None:
    direct = way(planned(), "on the file system by GPUDirect")
    plan = planned()
    assert direct.stop.value / direct.interval == pytest.approx(direct.interval / 2 / plan.mtbf)
    shorter, longer = (way(planned(every=direct.interval * f), "on the file system by GPU").loss for f in (0.5, 2))
    assert direct.loss < min(shorter, longer)


@given(st.floats(1e8, 1e13), st.integers(1, 4000), st.integers(0, 8), st.floats(0, 1e12))
def test_bounds_and_shares_hold(parameters: float, servers: int, drives: int, data: float) -> None:
    on = cluster(servers, storage=STORAGE)
    plan = decide(Wish(on, parameters, drives=drives, drive=drive("Gen5"), data_rate=data, dataset=data))
    assert [w.loss for w in plan.ways] == sorted(w.loss for w in plan.ways)
    assert all(0 < w.loss <= 1 and w.stop.low <= w.stop.value <= w.stop.high for w in plan.ways)
    assert all(need.enough is (need.amount.value <= need.there) for need in plan.needs)
    assert len(plan.ways) == (4 if drives else 3)


def test_what_is_not_described_is_not_judged() -> None:
    plan = planned(hardware=cluster())
    assert {need.enough for need in plan.needs} == {None}
    assert {w.survives for w in plan.ways} == {None}
    assert all(w.restart is None for w in plan.ways)


def test_a_file_system_too_slow_for_the_interval_is_told() -> None:
    slow = {**STORAGE, "total_write": "1GB/s"}
    plan = planned(hardware=cluster(storage=slow), every=60.0)
    assert way(plan, "in host memory").survives is False
    assert [need.enough for need in plan.needs] == [False, True, True]


def test_data_has_its_share() -> None:
    plan = planned(dataset=3e15, data_rate=400e9)
    write, read, capacity = plan.needs
    assert (write.enough, read.enough, capacity.enough) == (True, False, False)
    assert read.amount.value == 800e9
    assert [cache.holds for cache in plan.caches] == [False]


@pytest.mark.parametrize(
    "wrong", [{"parameters": 0}, {"keep": 0}, {"every": -1}, {"state_bytes": 0}, {"restart_within": 0}]
)
def test_bad_wishes_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(BadInput):
        replace(Wish(cluster(), 7e9), **wrong)  # type: ignore[arg-type]
