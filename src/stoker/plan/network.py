"""How many switches join N servers with k ports each, and how: a folded Clos network of one, two or three layers.

Ports of a server go to leaf switches in one of two ways. By rails: port r of every server of a group goes to the
group's leaf r, so that NICs of the same number are one hop apart, as NCCL's rings and trees want them. By racks:
all ports of a server go to the same leaf. Above the leaves both are wired alike:

    uplink j of leaf m   -> spine (m u + j) mod s     of its pod's s spines, u uplinks a leaf
    uplink t of spine x  -> core  (x v + t) mod c     of its plane's c cores, v uplinks a spine

With s <= u and c <= v every leaf reaches every spine of its pod, and every spine every core of its plane; spines of
the same number in different pods share a plane, so any two leaves are joined.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from stoker.errors import BadInput, Unfit
from stoker.perf.network import Switch

Topology = Literal["rail", "spine-leaf", "three-layer"]
_TIDY = 1.25  # spines beyond the least number that even wiring may cost


@dataclass(frozen=True)
class Lengths:
    """Metres of cable, slack included."""

    server: float = 10.0
    spine: float = 30.0
    core: float = 50.0


@dataclass(frozen=True)
class Wish:
    """What is to be joined, with which switches."""

    servers: int
    nics: int  # ports of one server
    speed: float  # bytes/s of a port
    leaf: Switch
    spine: Switch  # of the layers above the leaves
    topology: Topology = "rail"
    oversubscription: float = 1.0  # at most, of the leaves
    spine_oversubscription: float = 1.0  # at most, of the spines below cores
    lengths: Lengths = Lengths()

    def __post_init__(self) -> None:
        for what, count in (("servers", self.servers), ("ports of a server (nics)", self.nics)):
            if count < 1:
                raise BadInput(f"{count} {what} were given; 1 or more are allowed")
        for ratio in (self.oversubscription, self.spine_oversubscription):
            if not 1 <= ratio <= 100:
                raise BadInput(f"oversubscription {ratio:g} was given; 1 (none) to 100 is allowed")
        for switch in (self.leaf, self.spine):
            if not switch.radix(self.speed):
                raise BadInput(
                    f"{switch.name} has no ports of {self.speed * 8 / 1e9:g} Gb/s; it has {switch.speeds}"
                )

    @property
    def ports(self) -> int:
        return self.servers * self.nics


@dataclass(frozen=True)
class Network:
    """The wiring in numbers; `network_lists` writes it out cable by cable."""

    wish: Wish
    rails: bool
    layers: int
    group_servers: int  # servers that share their leaves; the last group may have fewer
    groups: int
    group_leaves: int  # the ports of a server, by rails; 1 by racks
    down: int  # ports of a leaf kept for servers
    uplinks: int = 0  # of a leaf
    pods: int = 1
    pod_groups: int = 0  # the last pod may have fewer
    pod_spines: int = 0
    spine_down: int = 0  # ports of a spine kept for leaves
    spine_uplinks: int = 0
    plane_spines: int = 1  # spines of each pod that share cores
    plane_cores: int = 0
    note: str = ""

    @property
    def leaves(self) -> int:
        return self.groups * self.group_leaves

    @property
    def pod_leaves(self) -> int:
        return self.pod_groups * self.group_leaves

    @property
    def spines(self) -> int:
        return self.pods * self.pod_spines

    @property
    def planes(self) -> int:
        return -(-self.pod_spines // self.plane_spines) if self.plane_cores else 0

    @property
    def cores(self) -> int:
        return self.planes * self.plane_cores

    @property
    def leaf_up(self) -> int:
        """The first port of a leaf that is an uplink; they count from 0."""
        return aligned(self.down, self.wish.leaf, self.wish.speed)

    @property
    def spine_up(self) -> int:
        return aligned(self.spine_down, self.wish.spine, self.wish.speed)

    @property
    def leaf_ratio(self) -> float:
        """Oversubscription of the leaves: ports to servers against uplinks."""
        return self.down / self.uplinks if self.uplinks else 1.0

    @property
    def spine_ratio(self) -> float:
        return self.spine_down / self.spine_uplinks if self.spine_uplinks else 1.0

    @property
    def leaf_links(self) -> int:
        """Cables between leaves and spines."""
        return self.leaves * self.uplinks

    @property
    def spine_links(self) -> int:
        """Cables between spines and cores."""
        return self.spines * self.spine_uplinks


def design(wish: Wish) -> Network:
    """The network with the fewest layers, and among those with the fewest switches.

    Raises Unfit when three layers of these switches are too few, and when racks of two layers were asked for that
    need three.
    """
    radix = wish.leaf.radix(wish.speed)
    if wish.ports <= radix:
        return Network(wish, False, 1, wish.servers, 1, 1, wish.ports)
    leaves = _leaves(wish, radix)
    two = _two_layers(leaves)
    if two is not None:
        note = "two layers suffice" if wish.topology == "three-layer" else ""
        return replace(two, note=note)
    if wish.topology == "spine-leaf":
        raise Unfit(
            f"{wish.servers:,} servers with {wish.nics} ports need {leaves.leaves:,} leaves, and a spine "
            f"{wish.spine.name} has {wish.spine.radix(wish.speed)} ports: use --topology three-layer or rail, or a "
            "larger --spine"
        )
    return _three_layers(leaves)


def _leaves(wish: Wish, radix: int) -> Network:
    """Servers spread evenly over as few leaves as there can be."""
    rails = wish.topology == "rail"
    each = 1 if rails else wish.nics  # ports that a server takes of one leaf
    most = max(
        (n for n in range(1, radix // each + 1) if _fit(n * each, wish.oversubscription, wish.leaf, wish)),
        default=0,
    )
    if most == 0:
        raise Unfit(
            f"a leaf {wish.leaf.name} with {radix} ports cannot take the {each} ports of one server and their "
            "uplinks: use --topology rail, or a larger --switch"
        )
    groups = -(-wish.servers // most)
    size = -(-wish.servers // groups)
    groups = -(-wish.servers // size)
    down = size * each
    return Network(
        wish, rails, 2, size, groups, wish.nics if rails else 1, down, _ceil(down, wish.oversubscription)
    )


def _fit(down: int, ratio: float, switch: Switch, wish: Wish) -> bool:
    """Whether a switch has the ports; uplinks begin at a cage of their own."""
    return aligned(down, switch, wish.speed) + _ceil(down, ratio) <= switch.radix(wish.speed)


def aligned(ports: int, switch: Switch, speed: float) -> int:
    """`ports`, rounded up to whole cages."""
    each = switch.per_module(speed)
    return -(-ports // each) * each


def _ceil(count: int, ratio: float) -> int:
    """count / ratio, rounded up, but for what floats add."""
    return max(1, int(-(-(count - 1e-9 * count) // ratio)))


def _two_layers(leaves: Network) -> Network | None:
    """Spines that every leaf reaches; None when a spine has too few ports for that."""
    ports = leaves.wish.spine.radix(leaves.wish.speed)
    least = -(-leaves.leaf_links // ports)
    if least > leaves.uplinks:
        return None
    spines = _tidy(least, leaves.uplinks)
    return replace(leaves, pod_groups=leaves.groups, pod_spines=spines, spine_down=-(-leaves.leaf_links // spines))


def _three_layers(leaves: Network) -> Network:
    """Pods of two layers, joined by planes of cores."""
    wish, ports = leaves.wish, leaves.wish.spine.radix(leaves.wish.speed)
    most = max((n for n in range(1, ports) if _fit(n, wish.spine_oversubscription, wish.spine, wish)), default=0)
    groups = most // leaves.group_leaves
    if groups == 0:
        raise Unfit(
            f"a pod of {wish.spine.name} takes {most} leaves, fewer than the {leaves.group_leaves} rails of one "
            "group: use --topology three-layer, or a larger --spine"
        )
    pods = -(-leaves.groups // groups)
    groups = -(-leaves.groups // pods)
    pod = _spines(replace(leaves, layers=3, pods=-(-leaves.groups // groups), pod_groups=groups))
    return _cores(pod, ports)


def _spines(pod: Network) -> Network:
    """As few spines a pod as take all uplinks of its leaves and give theirs to the cores."""
    links, ratio, wish = pod.pod_leaves * pod.uplinks, pod.wish.spine_oversubscription, pod.wish
    least = next(s for s in range(1, pod.uplinks + 1) if _fit(-(-links // s), ratio, wish.spine, wish))
    spines = _tidy(least, pod.uplinks)
    down = -(-links // spines)
    return replace(pod, pod_spines=spines, spine_down=down, spine_uplinks=_ceil(down, ratio))


def _cores(pod: Network, ports: int) -> Network:
    """Planes of cores: several spines of a pod share one while it has ports, else a plane has several."""
    links = pod.pods * pod.spine_uplinks  # into a plane of one spine a pod
    if links <= ports:
        return replace(pod, plane_spines=min(pod.pod_spines, ports // links), plane_cores=1)
    least = -(-links // ports)
    if least > pod.spine_uplinks:
        most = ports * pod.pod_groups * pod.group_servers * pod.wish.nics
        raise Unfit(
            f"{pod.wish.servers:,} servers with {pod.wish.nics} ports are {pod.wish.ports:,} ports, and three "
            f"layers of {pod.wish.spine.name} at {pod.wish.speed * 8 / 1e9:g} Gb/s join about {most:,}: use "
            "switches with more ports, fewer ports a server, or --oversubscription"
        )
    return replace(pod, plane_cores=_tidy(least, pod.spine_uplinks))


def _tidy(least: int, uplinks: int) -> int:
    """The least number of switches, or a few more when then every one gets equally many links of each below."""
    even = next(n for n in range(least, uplinks + 1) if uplinks % n == 0)
    return even if even <= _TIDY * least else least
