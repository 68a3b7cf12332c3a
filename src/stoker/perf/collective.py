"""How long collectives take, and the bus bandwidth they reach.

Sizes are counted as nccl-tests counts them: the buffer of one rank for all-reduce, all-to-all, broadcast and
send/receive; the whole of all ranks for all-gather and reduce-scatter. Bus bandwidth is size / time times what
every link must carry at least: 2 (n-1)/n for all-reduce, (n-1)/n for all-gather, reduce-scatter and all-to-all,
else 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

from stoker.errors import BadInput, near
from stoker.expectation import Expectation
from stoker.perf.fabric import Fabric
from stoker.perf.nccl import Option, Shape, choose, constants, link_bandwidth, options, seconds, timing
from stoker.units import format_bytes

Kind = Literal["all_reduce", "all_gather", "reduce_scatter", "all_to_all", "broadcast", "reduce", "send_recv"]

# Bounds hold nine of ten rows that calibration did not see (benchmarks/perf_network.py): a share of the time, and
# the seconds by which hosts differ in starting a collective, unless the site's own were measured.
_SPREAD, _LAUNCHES = 0.12, 20e-6
_UNSEEN = 2.0  # HCCL and RCCL are computed with NCCL's constants, which no measurement has confirmed: a guess
_CAVEAT = f"; no measurement of this vendor's library: bounds reach {_UNSEEN:g} times longer"
# All-to-all sends to every other rank at once; flows meet at the receiver. Measured: 0.785 of the ports' line rate
# on two servers of H100 (d-robotics), acceptance gates 0.82 to 0.84.
_INCAST = 0.82
_MULTICAST = 0.85
_PEERS_AT_ONCE = 8  # to which NCCL sends at the same time, a channel each


@dataclass(frozen=True)
class Group:
    """Ranks that take part, `per_domain` of them in each scale-up domain."""

    ranks: int
    per_domain: int

    @property
    def domains(self) -> int:
        return -(-self.ranks // self.per_domain)


def collective_seconds(kind: Kind, size: float, ranks: int, fabric: Fabric, per_domain: int = 0) -> float:
    """Seconds that `kind` of `size` bytes takes among `ranks` ranks. Plain floats, for callers that ask often.

    `per_domain`: ranks in each scale-up domain; 0: domains are filled one after the other. A group with one rank in
    each domain (data parallelism across tensor-parallel servers) has 1.
    """
    if ranks == 1 or size <= 0:
        return 0.0
    plan = _plan(kind, ranks, per_domain, fabric)
    option, share = choose(plan.options, size)
    return max(plan.least, seconds(option, size, share, plan.launch))


def expected_time(kind: Kind, size: float, ranks: int, fabric: Fabric, per_domain: int = 0) -> Expectation:
    """`collective_seconds` with its bounds and what it follows from. Raises BadInput for groups that cannot be."""
    value = collective_seconds(kind, size, ranks, fabric, per_domain)
    start = _LAUNCHES if value and fabric.timing is None and fabric.start is None else 0.0
    low = max(value * (1 - _SPREAD) - start, min(value, _least(kind, size, ranks, fabric, per_domain)))
    high = (value * (1 + _SPREAD) + start) * (1.0 if fabric.calibrated else _UNSEEN)
    return Expectation(f"{kind}_s", value, low, high, "s", basis(kind, size, ranks, fabric, per_domain))


def expected_bus_bandwidth(kind: Kind, size: float, ranks: int, fabric: Fabric, per_domain: int = 0) -> Expectation:
    """Bus bandwidth in GB/s, as nccl-tests prints it."""
    time = expected_time(kind, size, ranks, fabric, per_domain)
    moved = size * bus_factor(kind, ranks) / 1e9
    value, low, high = (moved / s if s > 0 else 0.0 for s in (time.value, time.high, time.low))
    return Expectation(f"{kind}_busbw", value, low, high, "GB/s", f"{moved:.6g} GB / ({time.basis})")


def bus_factor(kind: Kind, ranks: int) -> float:
    """What every link must carry at least, as a share of the size."""
    if kind == "all_reduce":
        return 2 * (ranks - 1) / ranks
    return (ranks - 1) / ranks if kind in ("all_gather", "reduce_scatter", "all_to_all") else 1.0


def ceiling(kind: Kind, ranks: int, fabric: Fabric, per_domain: int = 0) -> Expectation:
    """Bus bandwidth in GB/s that nothing can beat, whatever the algorithm.

    min(scale-up cap, bytes/s of a domain's ports x (k-1)/k x d/(d-1)) for k ranks in d domains. Ports count at line
    rate. The cap is the link's payload, or what multicast makes of it: a link then carries the buffer 1 + 1/m times
    instead of 2 (m-1)/m, at the 85 % that it reaches at best.
    """
    group = _group(kind, ranks, per_domain, fabric)
    k, m, d = ranks, group.per_domain, group.domains
    cap = link_bandwidth(fabric) if m > 1 else math.inf
    if kind == "all_reduce" and fabric.multicast and m > 2:
        cap *= max(1.0, _MULTICAST * bus_factor(kind, k) / (1 + 1 / m))
    ports = math.inf
    if d > 1:
        ports = fabric.network * min(1.0, m / fabric.domain) * (k - 1) / k * d / (d - 1)
    value = min(cap, ports) / 1e9
    basis = (
        f"min(link {_gb(cap)}, ports {_gb(fabric.network)} x ({k}-1)/{k} x {d}/({d}-1) = {_gb(ports)})"
        if d > 1
        else f"link {_gb(cap)}"
    )
    return Expectation(f"{kind}_ceiling", value, value, value, "GB/s", basis)


def basis(kind: Kind, size: float, ranks: int, fabric: Fabric, per_domain: int = 0) -> str:
    """Formula and inputs of `collective_seconds`, in one line."""
    if ranks == 1 or size <= 0:
        return "one rank moves nothing"
    plan = _plan(kind, ranks, per_domain, fabric)
    option, share = choose(plan.options, size)
    group = _group(kind, ranks, per_domain, fabric)
    moved = size / share
    bandwidth = f"{share / option.slope / 1e9:,.1f} GB/s"
    return (
        f"{option.name}: launch {plan.launch * 1e6:.0f} us + latency {option.latency * 1e6:.1f} us + "
        f"{format_bytes(size)} / {bandwidth} + ramp {option.ramp * math.sqrt(moved) * 1e6:.1f} us; "
        f"{ranks} ranks in {group.domains} domains, link {_gb(link_bandwidth(fabric))} payload, "
        f"network {_gb(fabric.network_of(group.per_domain, group.domains))} a domain; "
        f"no less than {plan.least * 1e6:.0f} us a call; constants: {constants().source.title}"
        f"{'' if fabric.calibrated else _CAVEAT}"
    )


@dataclass(frozen=True)
class _Plan:
    options: tuple[Option, ...]
    launch: float
    least: float


@cache
def _plan(kind: Kind, ranks: int, per_domain: int, fabric: Fabric) -> _Plan:
    group = _group(kind, ranks, per_domain, fabric)
    site = timing(fabric)
    launch, least = (site.launch_us * 1e-6, site.least_us * 1e-6) if fabric.start is None else (fabric.start, 0.0)
    if kind in ("all_to_all", "send_recv"):
        return _Plan((_direct(kind, group, fabric),), launch, least)
    steps = {"all_reduce": 2 * (ranks - 1), "all_gather": ranks - 1, "reduce_scatter": ranks - 1}.get(kind, ranks)
    shape = Shape(ranks, group.per_domain, group.domains, steps, reduces_all=kind == "all_reduce")
    return _Plan(options(shape, fabric), launch, least)


def _group(kind: Kind, ranks: int, per_domain: int, fabric: Fabric) -> Group:
    """Raises BadInput for an unknown kind, and for groups that do not fit the fabric."""
    if kind not in get_args(Kind):
        raise BadInput(f'no collective "{kind}"{near(kind, get_args(Kind))}')
    if ranks < 1:
        raise BadInput(f"a collective among {ranks} ranks was asked for; 1 or more are allowed")
    inside = per_domain or min(ranks, fabric.domain)
    if not 1 <= inside <= min(ranks, fabric.domain):
        raise BadInput(
            f"{inside} of {ranks} ranks in each domain were given; 1 to {min(ranks, fabric.domain)} are allowed"
        )
    group = Group(ranks, inside)
    if group.domains > 1 and fabric.network <= 0:
        raise BadInput(
            f"{ranks} ranks are in {group.domains} domains of {fabric.domain} accelerators, and no network joins "
            "them: give the network ports (nics) of a server"
        )
    return group


def _direct(kind: Kind, group: Group, fabric: Fabric) -> Option:
    """Messages straight from rank to rank: what leaves a link and what leaves a domain, whichever takes longer."""
    site, latencies = timing(fabric), constants().hop_latency_us
    peers = group.ranks - 1
    crossing = (group.ranks - group.per_domain) / group.ranks  # of a rank's data that leaves its domain
    inside = (group.per_domain - 1) / group.ranks
    if kind == "send_recv":
        peers, crossing, inside = 1, float(group.domains > 1), float(group.domains == 1)
    slope = inside / (link_bandwidth(fabric) * site.payload_share) if inside else 0.0
    hop = latencies[fabric.link]["ring"]["Simple"]
    if crossing:
        each = fabric.network_of(group.per_domain, group.domains) / group.per_domain
        slope = max(slope, crossing / (each * (_INCAST if kind == "all_to_all" else 1.0)))
        hop = latencies["network"]["ring"]["Simple"] + fabric.network_latency * 1e6
    latency = (constants().base_latency_us["ring"]["Simple"] + -(-peers // _PEERS_AT_ONCE) * hop) * 1e-6
    latency *= site.latency_share
    ramp = 2 * site.ramp_ring * math.sqrt(latency * slope)
    return Option("ring", "Simple", latency, slope, latency, slope, ramp)


def _least(kind: Kind, size: float, ranks: int, fabric: Fabric, per_domain: int) -> float:
    """Seconds at the ceiling."""
    if ranks == 1:
        return 0.0
    best = ceiling(kind, ranks, fabric, per_domain).value * 1e9
    return size * bus_factor(kind, ranks) / best if math.isfinite(best) else 0.0


def _gb(rate: float) -> str:
    return f"{rate / 1e9:,.4g} GB/s" if math.isfinite(rate) else "no limit"
