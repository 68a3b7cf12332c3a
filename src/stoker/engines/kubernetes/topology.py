"""Where a node is in the network, by the labels that clouds, operators and Topograph put on it.

Topograph (NVIDIA) counts the tiers of the fabric from the node outwards. AWS counts its layers inwards, so which
one is the leaf depends on how many there are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from stoker.topology import BETWEEN_NODES, Level

# The first label that a node has counts.
KNOWN: Mapping[Level, tuple[str, ...]] = {
    Level.NVLINK: (
        "nvidia.com/gpu.clique", "accelerator.topograph.run/sub-domain", "accelerator.topograph.run/domain",
        "network.topology.nvidia.com/accelerator", "topology.k8s.aws/ultraserver-id",
    ),
    Level.LEAF: (
        "fabric.topograph.run/tier-0", "network.topology.nvidia.com/tier-0", "network.topology.nvidia.com/leaf",
        "network.topology.nvidia.com/block", "cloud.google.com/gce-topology-subblock",
        "oci.oraclecloud.com/rdma.local_block_id", "cloud.provider.com/topology-rack",
    ),
    Level.POD: (
        "fabric.topograph.run/tier-1", "network.topology.nvidia.com/tier-1", "network.topology.nvidia.com/spine",
        "cloud.google.com/gce-topology-block", "oci.oraclecloud.com/rdma.network_block_id",
        "cloud.provider.com/topology-block",
    ),
    Level.CORE: (
        "fabric.topograph.run/tier-2", "network.topology.nvidia.com/tier-2", "network.topology.nvidia.com/core",
        "network.topology.nvidia.com/datacenter", "oci.oraclecloud.com/rdma.hpc_island_id",
    ),
    Level.SITE: ("topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"),
}  # fmt: skip
_LAYER = re.compile(r"^topology\.k8s\.aws/network-node-layer-(\d)$")
_LAYERED = (Level.LEAF, Level.POD, Level.CORE)


def domains_of(labels: Mapping[str, str], given: Mapping[str, str]) -> dict[Level, str]:
    """`given` are labels that the admin names, by level; they win."""
    found: dict[Level, str] = {}
    layers = sorted((match[1], labels[label]) for label in labels if (match := _LAYER.match(label)))
    found.update(zip(_LAYERED, (value for _, value in reversed(layers)), strict=False))
    for level, names in KNOWN.items():
        told = next((labels[name] for name in names if labels.get(name)), "")
        if told:
            found[level] = told
    found.update({Level(level): labels[label] for level, label in given.items() if labels.get(label)})
    return {level: found[level] for level in BETWEEN_NODES if found.get(level)}
