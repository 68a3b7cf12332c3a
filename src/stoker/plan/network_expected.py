"""What a planned network should deliver, and what is lost when a part of it fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from stoker.expectation import Expectation
from stoker.perf.collective import ceiling, expected_bus_bandwidth, expected_time
from stoker.perf.fabric import Fabric
from stoker.perf.hardware import Hardware, Nics
from stoker.perf.network import Nic, fabric
from stoker.plan.network import Network

SIZES = tuple(1 << power for power in (20, 24, 28, 30, 33))  # 1 MiB to 8 GiB
Part = Literal["port", "leaf", "spine", "core", "pod"]


@dataclass(frozen=True)
class AllReduce:
    """Over all accelerators at once."""

    size: int  # bytes
    time: Expectation
    bus_bandwidth: Expectation


@dataclass(frozen=True)
class Failure:
    """One part fails: `servers` servers lose `share` of their bandwidth to others."""

    part: Part
    parts: int  # that there are
    servers: int
    share: float


@dataclass(frozen=True)
class Delivery:
    oversubscription: Expectation  # of the whole: ports of half the servers against the bisection
    bisection: Expectation
    bound: Expectation  # of all-reduce
    all_reduce: tuple[AllReduce, ...]
    failures: tuple[Failure, ...]


def deliver(network: Network, hardware: Hardware, nic: Nic, sizes: Sequence[int] = SIZES) -> Delivery:
    """Expectations of `network` among servers as `hardware` describes one of them."""
    halves = bisection(network)
    ratio = _exact(
        "oversubscription", _ports(network) / halves.value, "", f"{_gb(_ports(network))} / {halves.basis}"
    )
    joined = joined_fabric(network, hardware, nic)
    ranks = network.wish.servers * hardware.per_server
    each = tuple(
        AllReduce(size, expected_time("all_reduce", size, ranks, joined),
                  expected_bus_bandwidth("all_reduce", size, ranks, joined))
        for size in sizes
    )  # fmt: skip
    return Delivery(ratio, halves, ceiling("all_reduce", ranks, joined), each, failures(network))


def joined_fabric(network: Network, hardware: Hardware, nic: Nic) -> Fabric:
    """The fabric that collectives see."""
    wish = network.wish
    whole = replace(
        hardware,
        servers=wish.servers,
        nics=Nics(nic.name, wish.nics, wish.speed),
        oversubscription=max(1.0, _ports(network) / bisection(network).value),
        rails=network.rails,
    )
    return fabric(whole, leaf_servers=network.group_servers)


def bisection(network: Network) -> Expectation:
    """GB/s in one direction between two halves of the servers: the narrowest layer's, halved."""
    wish, pods = network.wish, network.pods
    layers = {f"{wish.servers} servers x {wish.nics} ports": wish.ports}
    if network.layers > 1:
        layers[f"{network.leaves} leaves x {network.uplinks} uplinks"] = network.leaf_links
    if network.layers > 2:
        layers[f"{pods} pods x {network.pod_spines} spines x {network.spine_uplinks} uplinks"] = network.spine_links
    narrow = min(layers, key=lambda layer: layers[layer])
    value = layers[narrow] / 2 * wish.speed / 1e9
    return _exact("bisection", value, "GB/s", f"{narrow} x {wish.speed * 8 / 1e9:g} Gb/s / 2")


def failures(network: Network) -> tuple[Failure, ...]:
    """What each part takes with it, once flows have gone over to the paths that are left."""
    wish = network.wish
    whole_leaf = 1.0 if not network.rails else 1 / wish.nics
    found = [Failure("port", wish.ports, 1, 1 / wish.nics)]
    found.append(Failure("leaf", network.leaves, network.group_servers, whole_leaf))
    pod_servers = min(wish.servers, network.group_servers * network.pod_groups)
    if network.layers > 1:
        found.append(Failure("spine", network.spines, pod_servers, 1 / network.pod_spines))
    if network.layers > 2:
        found.append(Failure("core", network.cores, wish.servers, 1 / network.cores))
        found.append(Failure("pod", network.pods, pod_servers, 1.0))
    return tuple(found)


def _ports(network: Network) -> float:
    """GB/s of half the servers' ports."""
    return network.wish.ports / 2 * network.wish.speed / 1e9


def _exact(name: str, value: float, unit: str, basis: str) -> Expectation:
    return Expectation(name, value, value, value, unit, basis)


def _gb(value: float) -> str:
    return f"{value:,.0f} GB/s of half the servers' ports"
