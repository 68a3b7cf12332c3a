"""Fabric: what joins accelerators, as a collective sees it.

Accelerators of one domain (a server, or a rack with NVLink switches) are joined by the scale-up link; domains by
the network. Every accelerator has its share of its domain's ports, so a group with one rank in each domain uses
that share and no more: the other ranks' groups run at the same time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stoker.errors import BadInput
from stoker.typed import strict

Link = Literal["nvlink", "pcie"]


@strict
@dataclass(frozen=True)
class Timing:
    """What NCCL's constants do not tell: seven numbers, the same for all hardware, or measured on a site."""

    launch_us: float  # from the call until data moves
    least_us: float  # from one call to the next: what a host needs to make them, however small the message
    latency_share: float  # of the tuner's latencies that is really waited for
    ramp_ring: float  # of the square root that filling a ring's pipeline takes
    ramp_tree: float  # the same of trees
    ramp_multicast: float  # and of multicast, until its pieces are the largest
    payload_share: float  # of what the link constants promise


@dataclass(frozen=True, eq=False)  # compared and hashed by identity: results are cached by it
class Fabric:
    """Bandwidths are bytes/s in one direction, as data sheets say them; times are seconds."""

    domain: int  # accelerators that the scale-up link joins
    scale_up: float  # of one accelerator into its domain; 0: a domain of one
    network: float = 0.0  # of all ports of one domain together; 0: nothing joins the domains
    network_share: float = 0.96  # of it that point-to-point tests reach
    network_latency: float = 0.0  # for each message through the network, beyond what InfiniBand takes
    whole_lines: bool = True  # the network delivers 128 bytes in order, which NCCL's low-latency protocols need
    oversubscription: float = 1.0  # of the network above the leaf switches: 3 is 3:1
    leaf_domains: int = 0  # domains below the same leaf switches, which it does not slow down; 0: none
    architecture: str = "sm90"  # whose constants of NCCL hold; others than NVIDIA's get those of a near relative
    link: Link = "nvlink"
    multicast: bool = False  # the scale-up switch adds and copies (NVLink SHARP)
    start: float | None = None  # from the call until data moves; None: as the timing says
    timing: Timing | None = None  # None: the catalogue's

    def __post_init__(self) -> None:
        if self.domain < 1:
            raise BadInput(f"a domain of {self.domain} accelerators was given; 1 or more are allowed")
        if self.domain > 1 and self.scale_up <= 0:
            raise BadInput(f"{self.domain} accelerators in a domain need the bandwidth of what joins them")
        if self.oversubscription < 1:
            raise BadInput(f"oversubscription {self.oversubscription:g} was given; 1 (none) or more is allowed")

    @property
    def calibrated(self) -> bool:
        """Whether measurements of this architecture's library exist: NCCL's, not HCCL's or RCCL's."""
        return self.architecture.startswith("sm")

    def network_of(self, per_domain: int, domains: int) -> float:
        """Bytes/s that `per_domain` ranks of each of `domains` domains get to other domains."""
        share = self.network * self.network_share * min(1.0, per_domain / self.domain)
        return share if domains <= self.leaf_domains else share / self.oversubscription
