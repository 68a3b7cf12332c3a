"""Calibrate the collectives of one site: its measurements bend the timing, and the share that its network gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from stoker.errors import BadInput
from stoker.perf.calibrate import Fit, Knob, fit
from stoker.perf.collective import Kind, bus_factor, collective_seconds
from stoker.perf.fabric import Fabric, Timing
from stoker.perf.nccl import timing

# By what factor each may well be another on a site: launches differ by the host's CPU, bandwidths by little.
_DOUBT = {
    "launch_us": 0.4,
    "least_us": 0.4,
    "latency_share": 0.3,
    "ramp_ring": 0.4,
    "ramp_tree": 0.4,
    "ramp_multicast": 0.4,
    "payload_share": 0.05,
}
_NETWORK = 0.1
_NETWORK_KNOB = "network_share"


@dataclass(frozen=True)
class Measured:
    """One line of nccl-tests: bus bandwidth in GB/s."""

    kind: Kind
    size: float  # bytes
    ranks: int
    bus_bandwidth: float
    per_domain: int = 0  # ranks in each domain; 0: domains are filled one after the other


def calibrated(fabric: Fabric, measured: Sequence[Measured]) -> tuple[Fabric, Fit]:
    """`fabric` as it was measured, and the errors before and after. Raises BadInput without measurements."""
    if not measured or min(one.bus_bandwidth for one in measured) <= 0:
        raise BadInput("calibration needs measurements with a bus bandwidth above 0 GB/s")
    found = fit(
        lambda values, some: [_predicted(_bent(fabric, values), measured[index]) for index in some],
        [one.bus_bandwidth for one in measured],
        _knobs(fabric),
    )
    return _bent(fabric, found.values), found


def _knobs(fabric: Fabric) -> list[Knob]:
    knobs = [
        Knob(name, prior, _DOUBT[name], 1.05 if name == "payload_share" else float("inf"))
        for name, prior in asdict(timing(fabric)).items()
    ]
    return [*knobs, Knob(_NETWORK_KNOB, fabric.network_share, _NETWORK, 1.0)] if fabric.network else knobs


def _bent(fabric: Fabric, values: Mapping[str, float]) -> Fabric:
    share = min(1.0, values.get(_NETWORK_KNOB, fabric.network_share))
    bent = Timing(**{name: value for name, value in values.items() if name != _NETWORK_KNOB})
    return replace(fabric, timing=bent, network_share=share)


def _predicted(fabric: Fabric, one: Measured) -> float:
    """GB/s."""
    seconds = collective_seconds(one.kind, one.size, one.ranks, fabric, one.per_domain)
    return one.size * bus_factor(one.kind, one.ranks) / seconds / 1e9
