"""Cluster > Node > Device, Link: what there is."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from stoker.topology import Level

WHOLE = 1000  # a device is shared in thousandths
# How NVIDIA names slices of a device: 1g.10gb, 1c.3g.40gb, 1g.10gb+me, and in Kubernetes' resources 1g.10gb.me.
_PROFILE = re.compile(r"(?:^|[-_])((?:\d+c\.)?\d+g\.\d+gb(?:[.+-]\w+)*)$", re.IGNORECASE)


def profile_of(model: str) -> str:
    """``1g.10gb`` of the MIG slice ``H100-1g.10gb``; empty for a whole device."""
    match = _PROFILE.search(model)
    return match[1].lower() if match else ""


def accepts(models: Collection[str], model: str) -> bool:
    """Whether a job that asks for one of `models`, or for any when empty, takes a device of `model`.

    A slice is taken only by who asks for it: by its model (``H100-1g.10gb``), or of any model (``mig-1g.10gb``).
    """
    name, profile = model.lower(), profile_of(model)
    if not models:
        return not profile
    wanted = {one.lower() for one in models}
    return name in wanted or (bool(profile) and f"mig-{profile}" in wanted)


class Health(StrEnum):
    OK = "ok"
    DEGRADED = "degraded"
    FAILED = "failed"
    UNKNOWN = "unknown"  # nobody has looked


@dataclass(frozen=True)
class Device:
    """One accelerator."""

    index: int  # as the driver counts, what CUDA_VISIBLE_DEVICES takes
    model: str  # "H100", "H20", "910B"
    memory: int = 0  # bytes
    uuid: str = ""
    vendor: str = "nvidia"
    health: Health = Health.UNKNOWN
    nvlink: str = ""  # devices of the node that share a word here are joined by NVLink; empty: not known
    numa: str = ""  # likewise: on one socket
    pcie: str = ""  # likewise: behind one PCIe switch or root port

    def group(self, level: Level) -> str:
        """What it shares with others of its node at `level`; empty: not known."""
        return {Level.NVLINK: self.nvlink, Level.NUMA: self.numa, Level.PCIE: self.pcie}.get(level, "")

    @property
    def grouped(self) -> bool:
        """Whether anything is known of what it shares."""
        return bool(self.nvlink or self.numa or self.pcie)


@dataclass(frozen=True)
class Node:
    """One machine, as its engine reports it."""

    name: str
    engine: str
    cpus: int
    memory: int  # bytes
    devices: tuple[Device, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    schedulable: bool = True
    reason: str = ""  # why not schedulable
    site: str = ""  # "on-prem", "cloud", "edge": its engine's
    taints: tuple[str, ...] = ()  # only jobs that tolerate all of them come here: "edge", "team=speech"
    host: str = ""  # the machine, where two engines know one by different names; empty: its name
    rations_memory: bool = False  # jobs that name no memory get their CPUs' share of it, as Slurm gives it out
    slots: int = 0  # jobs at once at most, where its engine has such a limit; 0: by its CPUs
    address: str = ""  # where its services are reached from other nodes; empty: its name
    domains: Mapping[Level, str] = field(default_factory=dict)  # which leaf, pod... it belongs to, where known

    @property
    def machine(self) -> str:
        """What two engines that share a machine call it alike."""
        return self.host or self.name.partition(".")[0].lower()

    def domain(self, level: Level) -> str:
        """Which of a level between nodes it is in; empty: not known."""
        return self.domains.get(level, "") or (self.site if level is Level.SITE else "")

    @property
    def place(self) -> Place:
        return Place(self.engine, self.name)


class Place(NamedTuple):
    """A node of one engine: two engines may have nodes of the same name."""

    engine: str
    node: str


@dataclass(frozen=True)
class Link:
    """A cable or bus between two ports."""

    source: str
    target: str
    kind: str  # "nvlink", "pcie", "infiniband", "roce"
    bandwidth: float  # bytes per second, one direction


@dataclass(frozen=True)
class Cluster:
    nodes: tuple[Node, ...] = ()
    links: tuple[Link, ...] = ()

    def node(self, name: str) -> Node | None:
        return next((node for node in self.nodes if node.name == name), None)
