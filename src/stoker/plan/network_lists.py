"""A network written out: every cable, every address, and what has to be bought."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from stoker.errors import BadInput
from stoker.perf.network import Optic, Switch, optic_for
from stoker.plan.network import Network

Layer = str  # "server", "leaf-spine" or "spine-core"


class Cable(NamedTuple):
    """From the lower end to the upper one."""

    layer: Layer
    lower: str
    lower_port: str
    upper: str
    upper_port: str
    length: float  # m


class Address(NamedTuple):
    """One port of one server. `gateway` is the leaf's address in the subnet of its ports."""

    server: str
    nic: str
    leaf: str
    leaf_port: str
    address: str
    prefix: int
    gateway: str


@dataclass(frozen=True)
class Item:
    """One line of what has to be bought."""

    what: str
    count: int
    use: str
    power: float = 0.0  # W of all of them; 0: nobody states it


class Names:
    """What devices and ports are called; numbers are as wide as the largest."""

    def __init__(self, network: Network) -> None:
        self._network = network
        wish = network.wish
        self.server = _numbered("node", wish.servers)
        self._group = _numbered("g", network.groups)
        self._leaf = _numbered("leaf", network.leaves)
        self._pod = _numbered("p", network.pods)
        self._spine = _numbered("spine", network.pod_spines)
        self._core = _numbered("core", network.plane_cores)
        self._plane = _numbered("plane", network.planes)
        self.nics = [f"nic{nic}" for nic in range(wish.nics)]
        self.leaf_ports = _ports(wish.leaf, wish.speed)
        self.spine_ports = _ports(wish.spine, wish.speed)

    def leaf(self, index: int) -> str:
        """``leaf-g03-r5`` by rails, ``leaf17`` by racks."""
        if not self._network.rails:
            return self._leaf(index)
        group, rail = divmod(index, self._network.group_leaves)
        return f"leaf-{self._group(group)}-r{rail + 1}"

    def spines(self, pod: int) -> list[str]:
        """``p2-spine07``, or ``spine07`` where there are no pods."""
        before = f"{self._pod(pod)}-" if self._network.pods > 1 else ""
        return [f"{before}{self._spine(index)}" for index in range(self._network.pod_spines)]

    def cores(self, plane: int) -> list[str]:
        return [f"{self._plane(plane)}-{self._core(index)}" for index in range(self._network.plane_cores)]


def cables(network: Network) -> Iterator[Cable]:
    """Every cable: servers first, then leaves to spines, then spines to cores."""
    names = Names(network)
    yield from _server_cables(network, names)
    if network.layers > 1:
        yield from _leaf_cables(network, names)
    if network.layers > 2:
        yield from _spine_cables(network, names)


def place(network: Network, server: int, nic: int) -> tuple[int, int]:
    """The leaf of a server's port, and the port of that leaf; all count from 0."""
    group, position = divmod(server, network.group_servers)
    if network.rails:
        return group * network.group_leaves + nic, position
    return group, position * network.wish.nics + nic


def addresses(network: Network, block: str) -> Iterator[Address]:
    """An address for every port, a subnet for every leaf. Raises BadInput when `block` is too small."""
    base, bits = _subnets(network, block)
    names = Names(network)
    leaves = [names.leaf(leaf) for leaf in range(network.leaves)]
    gateways = [_dotted(base + (leaf << bits) + 1) for leaf in range(network.leaves)]
    for server in range(network.wish.servers):
        name = names.server(server)
        for nic, label in enumerate(names.nics):
            leaf, port = place(network, server, nic)
            host = _dotted(base + (leaf << bits) + 2 + port)
            yield Address(name, label, leaves[leaf], names.leaf_ports[port], host, 32 - bits, gateways[leaf])


def bill(network: Network) -> tuple[Item, ...]:
    """Switches, transceivers, fibres and copper."""
    wish = network.wish
    switches = [(wish.leaf.name, network.leaves, "leaf"), (wish.spine.name, network.spines, "spine"),
                (wish.spine.name, network.cores, "core")]  # fmt: skip
    items = [Item(name, count, use) for name, count, use in switches if count]
    items += _server_items(network)
    for use, links, length, lower, upper in _switch_layers(network):
        items += _switch_items(network, use, links, length, lower + upper)
    return tuple(items)


def _server_cables(network: Network, names: Names) -> Iterator[Cable]:
    length = network.wish.lengths.server
    leaves = [names.leaf(leaf) for leaf in range(network.leaves)]
    for server in range(network.wish.servers):
        name = names.server(server)
        for nic, label in enumerate(names.nics):
            leaf, port = place(network, server, nic)
            yield Cable("server", name, label, leaves[leaf], names.leaf_ports[port], length)


def _leaf_cables(network: Network, names: Names) -> Iterator[Cable]:
    length, uplinks = network.wish.lengths.spine, network.uplinks
    lower, upper = names.leaf_ports[network.leaf_up :], names.spine_ports
    for pod in range(network.pods):
        spines, first = names.spines(pod), pod * network.pod_leaves
        for member in range(min(network.pod_leaves, network.leaves - first)):
            name = names.leaf(first + member)
            for uplink in range(uplinks):
                port, spine = divmod(member * uplinks + uplink, len(spines))
                yield Cable("leaf-spine", name, lower[uplink], spines[spine], upper[port], length)


def _spine_cables(network: Network, names: Names) -> Iterator[Cable]:
    length, uplinks, ports = network.wish.lengths.core, network.spine_uplinks, names.spine_ports
    lower = ports[network.spine_up :]
    cores = [names.cores(plane) for plane in range(network.planes)]
    for pod in range(network.pods):
        for spine, name in enumerate(names.spines(pod)):
            plane, member = divmod(spine, network.plane_spines)
            first = (pod * network.plane_spines + member) * uplinks
            for uplink in range(uplinks):
                port, core = divmod(first + uplink, network.plane_cores)
                yield Cable("spine-core", name, lower[uplink], cores[plane][core], ports[port], length)


def _server_items(network: Network) -> list[Item]:
    """Copper where it reaches, one cable for the links of a cage; else fibre and two transceivers."""
    wish, each = network.wish, network.wish.leaf.per_module(network.wish.speed)
    modules = sum(-(-used // each) for used in _down_used(network))
    copper = optic_for("server", wish.speed, wish.lengths.server, copper=True)
    if copper is not None and copper.links == each:
        return [Item(f"copper {copper.name}", modules, "server to leaf")]
    upper = optic_for("switch", wish.speed, wish.lengths.server, copper=False)
    lower = optic_for("server", wish.speed, wish.lengths.server, copper=False)
    return [
        _modules(upper, modules, wish.speed, wish.lengths.server, "leaf, to servers"),
        _modules(lower, wish.ports, wish.speed, wish.lengths.server, "server"),
        Item(f"fibre {wish.lengths.server:g} m", wish.ports, "server to leaf"),
    ]


def _down_used(network: Network) -> Iterator[int]:
    """Ports that servers take, leaf by leaf."""
    each = 1 if network.rails else network.wish.nics
    for group in range(network.groups):
        servers = min(network.group_servers, network.wish.servers - group * network.group_servers)
        for _ in range(network.group_leaves):
            yield servers * each


def _switch_layers(network: Network) -> Iterator[tuple[str, int, float, int, int]]:
    """Use, links, metres, and transceivers at the lower and the upper end."""
    wish = network.wish
    leaf, spine = wish.leaf.per_module(wish.speed), wish.spine.per_module(wish.speed)
    if network.layers > 1:
        upper = 0
        for pod in range(network.pods):
            leaves = min(network.pod_leaves, network.leaves - pod * network.pod_leaves)
            upper += _upper(leaves * network.uplinks, network.pod_spines, spine)
        lower = network.leaves * -(-network.uplinks // leaf)
        yield "leaf to spine", network.leaf_links, wish.lengths.spine, lower, upper
    if network.layers > 2:
        lower = network.spines * -(-network.spine_uplinks // spine)
        upper = 0
        for plane in range(network.planes):
            spines = min(network.plane_spines, network.pod_spines - plane * network.plane_spines)
            last = (network.pods - 1) * network.plane_spines + spines  # places in the plane, the last pod's filled
            skipped = (network.plane_spines - spines) * (network.pods - 1)
            upper += _upper((last - skipped) * network.spine_uplinks, network.plane_cores, spine)
        yield "spine to core", network.spine_links, wish.lengths.core, lower, upper


def _upper(links: int, switches: int, each: int) -> int:
    """Transceivers of `switches` switches that share `links` links evenly."""
    some, more = divmod(links, switches)
    return more * -(-(some + 1) // each) + (switches - more) * -(-some // each)


def _switch_items(network: Network, use: str, links: int, length: float, modules: int) -> list[Item]:
    optic = optic_for("switch", network.wish.speed, length, copper=False)
    return [_modules(optic, modules, network.wish.speed, length, use), Item(f"fibre {length:g} m", links, use)]


def _modules(optic: Optic | None, count: int, speed: float, length: float, use: str) -> Item:
    if optic is None:
        return Item(f"transceiver {speed * 8 / 1e9:g} Gb/s, {length:g} m", count, use)
    return Item(optic.name, count, use, count * optic.power)


def _subnets(network: Network, block: str) -> tuple[int, int]:
    """Where the block begins, and how many bits the ports of a leaf need besides gateway, network and broadcast."""
    try:
        space = ipaddress.IPv4Network(block)
    except ValueError as error:
        raise BadInput(f'--addresses "{block}" was given; write a block as in 10.0.0.0/8 ({error})') from None
    bits = (network.down + 2).bit_length()
    if network.leaves << bits > space.num_addresses:
        raise BadInput(
            f"--addresses {block} has {space.num_addresses:,} addresses, and {network.leaves:,} leaves need "
            f"{network.leaves << bits:,}: give a larger block, such as 10.0.0.0/8"
        )
    return int(space.network_address), bits


def _dotted(address: int) -> str:
    return f"{address >> 24}.{address >> 16 & 255}.{address >> 8 & 255}.{address & 255}"


def _numbered(word: str, count: int) -> Callable[[int], str]:
    wide = len(str(max(1, count)))
    return lambda index: f"{word}{index + 1:0{wide}d}"


def _ports(switch: Switch, speed: float) -> Sequence[str]:
    """``17``, or ``9/1`` where a cage has several links."""
    count, each = switch.radix(speed), switch.per_module(speed)
    if each == 1:
        return [str(index + 1) for index in range(count)]
    return [f"{index // each + 1}/{index % each + 1}" for index in range(count)]
