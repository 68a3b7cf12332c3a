"""A site's own measurements bend the timing of its collectives, and not further than they warrant."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stoker.errors import BadInput
from stoker.perf.calibrate_fabric import Measured, calibrated
from stoker.perf.collective import expected_bus_bandwidth
from stoker.perf.fabric import Fabric
from stoker.perf.nccl import timing

H100 = Fabric(domain=8, scale_up=450e9, network=400e9, multicast=True)


def curve(site: Fabric, ranks: int = 32) -> list[Measured]:
    return [
        Measured("all_reduce", size, ranks, expected_bus_bandwidth("all_reduce", size, ranks, site).value)
        for size in (1 << power for power in range(20, 34))
    ]


def test_a_slow_host_and_a_weak_network_are_found() -> None:
    """The site starts slower and its network gives 0.88: every other point tells it for those between.

    Four servers: between two, the link in the server is the narrow one, and tells nothing of the network.
    """
    site = replace(H100, network_share=0.88, timing=replace(timing(H100), launch_us=60.0))
    points = curve(site)
    bent, found = calibrated(H100, points[::2])
    assert max(found.before) > 0.08
    assert max(found.after) < 0.02
    for one in points[1::2]:
        assert expected_bus_bandwidth("all_reduce", one.size, 32, bent).value == pytest.approx(
            one.bus_bandwidth, rel=0.04
        )
    assert bent.timing is not None
    assert bent.network_share < 0.92
    # What the curve tells is the product; doubt is spread over both.
    assert bent.network_share * bent.timing.payload_share == pytest.approx(0.88, abs=0.02)


def test_one_odd_measurement_bends_little() -> None:
    points = curve(H100)
    odd = [replace(points[0], bus_bandwidth=points[0].bus_bandwidth / 3), *points[1:]]
    bent, _ = calibrated(H100, odd)
    last = points[-1]
    assert expected_bus_bandwidth("all_reduce", last.size, 32, bent).value == pytest.approx(
        last.bus_bandwidth, rel=0.02
    )


def test_nothing_measured_is_refused() -> None:
    with pytest.raises(BadInput, match="needs measurements"):
        calibrated(H100, [])
    with pytest.raises(BadInput, match="above 0"):
        calibrated(H100, [Measured("all_reduce", 1 << 20, 8, 0.0)])
