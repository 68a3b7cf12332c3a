"""Where the nodes are in the network, as ``scontrol show topology`` and the nodes' features tell.

    SwitchName=s0 Level=0 LinkSpeed=1 Nodes=gpu[0-1]                              topology/tree
    SwitchName=top Level=1 LinkSpeed=1 Nodes=gpu[0-3] Switches=s[0-1]
    BlockName=b0 BlockIndex=0 Nodes=gpu[0-17] BlockSize=18                        topology/block, from 23.11 on
    AggregatedBlock=b[0-1] BlockIndex=2 Nodes=gpu[0-35] BlockSize=36

Without a topology plugin it tells nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby

from stoker.engines.slurm.hostlist import expand
from stoker.errors import BadInput
from stoker.topology import BETWEEN_NODES, Level

OPTIONS = ("show", "topology")
# What the levels of each plugin are, from the bottom, where the admin does not tell.
_TREE = (Level.LEAF, Level.POD, Level.CORE, Level.SITE)
_BLOCK = (Level.NVLINK, Level.POD, Level.CORE, Level.SITE)
_FIELD = re.compile(r"(\w+)=(\S*)")
_FEATURE = re.compile(rf"^({'|'.join(BETWEEN_NODES)})[-_.:](.+)$|^(leaf|pod|site)(\d+)$", re.IGNORECASE)


def parse(text: str, levels: Sequence[Level] = ()) -> dict[str, dict[Level, str]]:
    """By node its domain of each level. What cannot be understood is not known; it keeps nobody from working."""
    found: dict[str, dict[Level, str]] = {}
    for level, name, nodes in _domains(text, levels):
        for node in nodes:
            domains = found.setdefault(node, {})
            # A node on several leaves, one for each rail: those that share all of them share a group of rails.
            domains[level] = f"{domains[level]}+{name}" if level in domains else name
    return found


def of_features(features: str) -> dict[Level, str]:
    """Of features such as ``leaf_s14``, ``pod-p10`` or ``leaf3``, as administrators write them."""
    matches = [match for feature in features.split(",") if (match := _FEATURE.match(feature.strip()))]
    return {Level((match[1] or match[3]).lower()): match[2] or match[4] for match in matches}


def _domains(text: str, levels: Sequence[Level]) -> Iterator[tuple[Level, str, tuple[str, ...]]]:
    lines = [dict(_FIELD.findall(line)) for line in text.splitlines()]
    switches = [line for line in lines if "SwitchName" in line and line.get("Level", "").isdigit()]
    for switch in switches:
        yield from _domain(switch, "SwitchName", int(switch["Level"]), levels or _TREE)
    for name, depth, block in _blocks(lines):
        yield from _domain(block, name, depth, levels or _BLOCK)


def _blocks(lines: Iterable[Mapping[str, str]]) -> Iterator[tuple[str, int, Mapping[str, str]]]:
    """Blocks, and blocks of blocks by their size, each with how far up it is."""
    yield from (("BlockName", 0, line) for line in lines if "BlockName" in line)
    larger = sorted((line for line in lines if "AggregatedBlock" in line), key=_size)
    for depth, (_, same) in enumerate(groupby(larger, key=_size), start=1):
        yield from (("AggregatedBlock", depth, line) for line in same)


def _size(line: Mapping[str, str]) -> int:
    text = line.get("BlockSize", "")
    return int(text) if text.isdigit() else 0


def _domain(
    line: Mapping[str, str], name: str, depth: int, levels: Sequence[Level]
) -> Iterator[tuple[Level, str, tuple[str, ...]]]:
    if depth >= len(levels) or not line.get("Nodes"):
        return
    try:
        yield levels[depth], line[name], expand(line["Nodes"])
    except BadInput:
        return
