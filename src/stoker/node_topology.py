"""NodeTopology: where a node is and which of its devices belong together, as an administrator says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from stoker.cluster import Device, Node
from stoker.engine_config import LOCAL
from stoker.errors import BadInput
from stoker.topology import Level
from stoker.typed import strict

_LONGEST = 256  # characters of a name


@strict
@dataclass(frozen=True)
class NodeTopology:
    """What it says wins over what the node's engine tells."""

    domains: Mapping[Level, str] = field(default_factory=dict)
    groups: Mapping[Level, tuple[tuple[int, ...], ...]] = field(default_factory=dict)  # indexes of devices

    def __post_init__(self) -> None:
        for level, name in self.domains.items():
            if not level.between_nodes:
                raise BadInput(f"{level} groups devices of a node; nodes are in one nvlink, leaf, pod, core, site")
            if not name or len(name) > _LONGEST or not name.isprintable():
                raise BadInput(
                    f"{level} {name!r} was given; a name of 1 to {_LONGEST} printable characters is allowed"
                )
        for level, groups in self.groups.items():
            if not level.within_node:
                raise BadInput(f"{level} is between nodes; devices of a node share one nvlink, numa, pcie")
            indexes = [index for group in groups for index in group]
            if len(indexes) != len(set(indexes)) or any(index < 0 for index in indexes):
                raise BadInput(f"{level}: a device is in one group; the same index stands in two")

    def merged(self, later: NodeTopology) -> NodeTopology:
        return NodeTopology({**self.domains, **later.domains}, {**self.groups, **later.groups})


def with_topology(node: Node, told: NodeTopology) -> Node:
    """Groups of devices count where the platform itself says which ones a job gets. Slurm and Kubernetes choose by
    themselves: there a group counts only if it has all devices of the node."""
    words = {level: _words(groups) for level, groups in told.groups.items()}
    kept = {level: by for level, by in words.items() if node.engine == LOCAL or _all_alike(node, by)}
    devices = tuple(_with_words(device, kept) for device in node.devices) if kept else node.devices
    return replace(node, domains={**node.domains, **told.domains}, devices=devices)


def _words(groups: tuple[tuple[int, ...], ...]) -> dict[int, str]:
    return {index: str(number) for number, group in enumerate(groups) for index in group}


def _all_alike(node: Node, words: Mapping[int, str]) -> bool:
    return len({words.get(device.index, "") for device in node.devices}) == 1


def _with_words(device: Device, words: Mapping[Level, Mapping[int, str]]) -> Device:
    def of(level: Level, before: str) -> str:
        return words[level].get(device.index, "") if level in words else before

    return replace(
        device,
        nvlink=of(Level.NVLINK, device.nvlink),
        numa=of(Level.NUMA, device.numa),
        pcie=of(Level.PCIE, device.pcie),
    )
