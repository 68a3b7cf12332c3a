"""Which algorithm and protocol NCCL's tuner takes for a collective, and what each costs.

NCCL estimates ``latency + bytes / bandwidth`` for every algorithm (ring, double binary tree, NVLink SHARP) and
protocol (LL, LL128, Simple) from constants of the hardware and takes the least (src/graph/tuning.cc). Its estimate
serves its choice and nothing else: measured times are longer. We follow it in the choice, and add to the time what
it leaves out:

    seconds = launch + L + bytes/B + 2 r sqrt(L bytes/B)

L is the latency of all hops, B the bandwidth of the algorithm on this fabric. The last term is the filling of a
pipeline. Data cut into c pieces passes h hops of latency a in ``(c + h - 1) (a + bytes/(c B))``; the best c makes
that ``(sqrt(L) + sqrt(bytes/B))^2`` with L = (h-1) a, whence the root with r = 1. Where pieces are not the best
ones, or one hop's latency hides behind another's transfer, r is another number, which is measured. No call returns
sooner than the host makes the next (``least``).
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from typing import Literal

from stoker.perf.fabric import Fabric, Timing
from stoker.typed import read, strict

Algorithm = Literal["ring", "tree", "nvls", "nvls_tree"]
Protocol = Literal["LL", "LL128", "Simple"]
Latencies = Mapping[Algorithm, Mapping[Protocol, float]]
PROTOCOLS: tuple[Protocol, ...] = ("LL", "LL128", "Simple")
_TREE = 0.92  # of a link's bandwidth that a tree reaches
_PLATEAU = 1.4  # the tuner's factor on the latency of large rings over several nodes
_NETWORK_START = 1.0  # us that the proxy takes for each step of a ring; three times for Simple
_PIECE = 8 * 65536  # bytes of a channel under way at once: eight heads, a chunk each
_FIRST_SIZE = 64  # bytes, of the first tree correction


@strict
@dataclass(frozen=True)
class Source:
    title: str
    read: str


@strict
@dataclass(frozen=True)
class Architecture:
    """GB/s; lists are for one node, two, and more."""

    link: float
    link_line: float
    channels: int
    ll_max: tuple[float, ...]
    ring_ll128_channel: tuple[float, ...]
    tree_ll128_channel: tuple[float, ...]
    tree_channel: tuple[float, ...]
    nvls_tree_channel: tuple[float, ...] = ()
    nvls_share: float = 0.0  # 0: no multicast


@strict
@dataclass(frozen=True)
class Pcie:
    """GB/s of sixteen lanes of Gen3; other generations lose as much."""

    link: float
    link_line: float


@strict
@dataclass(frozen=True)
class Constants:
    source: Source
    timing: Timing
    pcie: Pcie
    base_latency_us: Latencies
    hop_latency_us: Mapping[Literal["nvlink", "pcie", "network"], Latencies]
    tree_correction: Mapping[Protocol, tuple[float, ...]]
    architecture: Mapping[str, Architecture]

    def of(self, architecture: str) -> Architecture:
        """The constants of `architecture`, or of its nearest relative: sm103 has sm100's, others sm80's."""
        if architecture in self.architecture:
            return self.architecture[architecture]
        family = {"sm9": "sm90", "sm1": "sm100", "sm7": "sm70"}.get(architecture[:3], "sm80")
        return self.architecture[family]


@cache
def constants() -> Constants:
    """The constants in ``perf/catalogue/nccl.toml``. Raises BadInput naming what is wrong in the file."""
    text = files("stoker.perf").joinpath("catalogue", "nccl.toml").read_text("utf-8")
    return read(Constants, tomllib.loads(text), what="nccl.toml")


@dataclass(frozen=True)
class Shape:
    """How a group of ranks lies on the fabric, and what its ring is."""

    ranks: int
    per_domain: int
    domains: int
    steps: int  # of a ring
    reduces_all: bool  # all-reduce: the only one that may go by trees and multicast

    @property
    def scale(self) -> int:
        """Index into lists that are for one node, two, and more."""
        return min(self.domains, 3) - 1


@dataclass(frozen=True)
class Option:
    """One algorithm and protocol for one group; seconds and seconds a byte."""

    algorithm: Algorithm
    protocol: Protocol
    tuner_latency: float
    tuner_slope: float
    latency: float
    slope: float
    ramp: float  # 2 r sqrt(latency * slope)
    correction: tuple[float, ...] = field(default=(), repr=False)
    filled: float = math.inf  # s that the ramp takes at most: pieces grow no further

    @property
    def name(self) -> str:
        return f"{self.algorithm} {self.protocol}"


def choose(options: tuple[Option, ...], size: float) -> tuple[Option, float]:
    """The option that the tuner takes for `size` bytes, and what share of its bandwidth it gets at that size."""
    place = max(0, int(size / _FIRST_SIZE).bit_length() - 1)
    best, best_cost, best_share = options[0], math.inf, 1.0
    for option in options:
        share = option.correction[place] if place < len(option.correction) else 1.0
        cost = option.tuner_latency + option.tuner_slope * size / share
        if cost < best_cost:
            best, best_cost, best_share = option, cost, share
    return best, best_share


def seconds(option: Option, size: float, share: float, launch: float) -> float:
    """The formula above. `share`: of the bandwidth, as `choose` told it."""
    moved = size / share
    return launch + option.latency + option.slope * moved + min(option.filled, option.ramp * math.sqrt(moved))


def timing(fabric: Fabric) -> Timing:
    """What was measured on this fabric's site, or the catalogue's."""
    return fabric.timing or constants().timing


def options(shape: Shape, fabric: Fabric) -> tuple[Option, ...]:
    """All that NCCL may take for this group on this fabric."""
    found = list(_rings(shape, fabric))
    if shape.reduces_all and shape.ranks > 1:
        found += _trees(shape, fabric)
        if fabric.multicast and shape.per_domain > 2 and constants().of(fabric.architecture).nvls_share:
            found.append(_nvls(shape, fabric))
    return tuple(found)


def link_bandwidth(fabric: Fabric) -> float:
    """Bytes/s of payload that one accelerator sends over its scale-up link."""
    known = constants().of(fabric.architecture) if fabric.link == "nvlink" else constants().pcie
    return fabric.scale_up * known.link / known.link_line


def _rings(shape: Shape, fabric: Fabric) -> Iterator[Option]:
    """Every byte passes ``steps`` hops of the ring; of which each domain's border sees as much as each link."""
    table, known = constants(), constants().of(fabric.architecture)
    crossing = shape.steps * (shape.domains - 1) // max(1, shape.ranks - 1) if shape.domains > 1 else 0
    ratio = shape.ranks / shape.steps
    for protocol in _protocols(shape, fabric):
        bandwidth = _narrowest(shape, fabric)
        if protocol == "LL":
            bandwidth = min(bandwidth * 0.5, known.ll_max[shape.scale] * 1e9)
        elif protocol == "LL128":
            bandwidth = min(bandwidth * 0.92, known.ring_ll128_channel[shape.scale] * known.channels * 1e9)
        inside = table.hop_latency_us[fabric.link]["ring"][protocol]
        if shape.domains > 1:
            inside = max(inside, _NETWORK_START * (3 if protocol == "Simple" else 1))
        hops = (shape.steps - crossing) * inside + crossing * _network_hop("ring", protocol, fabric)
        latency = table.base_latency_us["ring"][protocol] + hops
        if protocol == "Simple" and shape.domains > 1 and shape.reduces_all:
            latency *= _PLATEAU
        tuned = bandwidth * ratio
        yield _option(fabric, "ring", protocol, latency, tuned, tuned * timing(fabric).payload_share)


def _trees(shape: Shape, fabric: Fabric) -> Iterator[Option]:
    """Up and down a chain in each domain, and up and down two binary trees of domains.

    A link carries every byte twice. So does a domain's border, or once where there are only two domains: each is
    then a leaf of one tree and the root of the other.
    """
    table, known = constants(), constants().of(fabric.architecture)
    link = link_bandwidth(fabric) if shape.per_domain > 1 else math.inf
    border = _network(shape, fabric) * (2 if shape.domains == 2 else 1) if shape.domains > 1 else math.inf
    channels = known.channels * known.tree_channel[shape.scale] * 1e9
    for protocol in _protocols(shape, fabric):
        tuned = _tree_share(min(min(link, border) * _TREE, channels), protocol, shape, known)
        real = _tree_share(min(link * _TREE, border, channels), protocol, shape, known)
        inside = (shape.per_domain - 1) * table.hop_latency_us[fabric.link]["tree"][protocol]
        outside = math.log2(shape.domains) * _network_hop("tree", protocol, fabric)
        latency = table.base_latency_us["tree"][protocol] + 2 * (inside + outside)
        yield _option(fabric, "tree", protocol, latency, tuned / 2, real / 2, table.tree_correction[protocol])


def _tree_share(bandwidth: float, protocol: Protocol, shape: Shape, known: Architecture) -> float:
    """What of `bandwidth` is data: LL sends a flag with every word, LL128 with every 120 bytes."""
    if protocol == "LL":
        return min(bandwidth / 3.8, known.ll_max[shape.scale] * 1e9)
    if protocol == "LL128":
        limit = known.channels * known.tree_ll128_channel[shape.scale] * 1e9
        return min(bandwidth * (7 / 9 if shape.domains == 1 else 120 / 128), limit)
    return bandwidth


def _nvls(shape: Shape, fabric: Fabric) -> Option:
    """The switch adds and copies: a link carries the buffer once, and its own part of the sum once more."""
    table, known = constants(), constants().of(fabric.architecture)
    link, size = link_bandwidth(fabric) * known.nvls_share, shape.per_domain
    tuned, real = link * (size - 1) / size, link / (1 + 1 / size)
    if shape.domains == 1:
        latency = table.hop_latency_us["nvlink"]["nvls"]["Simple"]
        return _multicast(fabric, "nvls", latency, tuned, real * timing(fabric).payload_share, 2)
    trees = _network(shape, fabric) / (1 if shape.domains == 2 else 2)
    limit = known.channels * known.nvls_tree_channel[shape.scale] * 1e9 / 2
    hop = _network_hop("nvls_tree", "Simple", fabric)
    latency = table.hop_latency_us["nvlink"]["nvls_tree"]["Simple"] + 2 * math.log2(shape.domains) * hop
    real = min(real, trees) * timing(fabric).payload_share
    depth = 2 + 2 * math.log2(shape.domains)
    return _multicast(fabric, "nvls_tree", latency, min(tuned, trees, limit), real, depth)


def _multicast(
    fabric: Fabric, algorithm: Algorithm, latency_us: float, tuned: float, real: float, hops: float
) -> Option:
    """Pieces of multicast end at `_PIECE`: filling `hops` hops takes no longer than so many of the largest."""
    found = _option(fabric, algorithm, "Simple", latency_us, tuned, real)
    channels = constants().of(fabric.architecture).channels
    return replace(found, filled=2 * hops * _PIECE * channels * found.slope)


def _option(
    fabric: Fabric,
    algorithm: Algorithm,
    protocol: Protocol,
    latency_us: float,
    tuned: float,
    real: float,
    correction: tuple[float, ...] = (),
) -> Option:
    """Of a latency in us and bandwidths in bytes/s of the buffer: the tuner's, and what the links carry."""
    model = timing(fabric)
    latency, slope = latency_us * 1e-6 * model.latency_share, 1 / real
    share = {"ring": model.ramp_ring, "tree": model.ramp_tree}.get(algorithm, model.ramp_multicast)
    ramp = 2 * share * math.sqrt(latency * slope)
    return Option(algorithm, protocol, latency_us * 1e-6, 1 / tuned, latency, slope, ramp, correction)


def _network_hop(algorithm: Algorithm, protocol: Protocol, fabric: Fabric) -> float:
    """Microseconds; Simple waits for the network twice, as it flushes what it received."""
    extra = fabric.network_latency * 1e6 * (2 if protocol == "Simple" else 1)
    return constants().hop_latency_us["network"][algorithm][protocol] + extra


def _protocols(shape: Shape, fabric: Fabric) -> tuple[Protocol, ...]:
    """LL and LL128 need a network that delivers a line of 128 bytes whole."""
    return PROTOCOLS if shape.domains == 1 or fabric.whole_lines else ("Simple",)


def _network(shape: Shape, fabric: Fabric) -> float:
    return fabric.network_of(shape.per_domain, shape.domains)


def _narrowest(shape: Shape, fabric: Fabric) -> float:
    inside = link_bandwidth(fabric) if shape.per_domain > 1 else math.inf
    return min(inside, _network(shape, fabric)) if shape.domains > 1 else inside
