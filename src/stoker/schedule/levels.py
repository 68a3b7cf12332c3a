"""Levels: which domain of the network each node is in, and which group each of its devices, as numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stoker.cluster import Health, Node
from stoker.topology import BETWEEN_NODES, WITHIN_NODE, Level

UNKNOWN = -1


@dataclass(frozen=True)
class Levels:
    """What is not told is `UNKNOWN`, at a level of which anything is told at all; other levels are absent."""

    domains: Mapping[Level, NDArray[np.int64]]  # [row] -> number, the closest level first; each within the next
    groups: Mapping[Level, NDArray[np.int64]]  # [row, column] -> number within the row
    degraded: NDArray[np.bool_]  # [row, column]
    worn: NDArray[np.int64]  # rows with a degraded device

    def told(self, level: Level | None) -> Level | None:
        """The outermost level told of whose domains lie within those of `level`; None when there is none."""
        if level not in BETWEEN_NODES:
            return None
        inward = BETWEEN_NODES[: BETWEEN_NODES.index(level) + 1]
        return next((one for one in reversed(inward) if one in self.domains), None)

    def order(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """`rows` so that neighbours in the network are neighbours in the result."""
        keys = [rows, *(ids[rows] for ids in self.domains.values())]
        ordered: NDArray[np.int64] = rows[np.lexsort(keys)]
        return ordered


def levels_of(nodes: Sequence[Node]) -> Levels:
    """A leaf is told apart by all that holds it too: two pods may number their leaves alike."""
    domains: dict[Level, NDArray[np.int64]] = {}
    inner = np.full(len(nodes), UNKNOWN, dtype=np.int64)
    for level in BETWEEN_NODES:
        if any(node.domain(level) for node in nodes):
            inner = domains[level] = _domains(nodes, level, inner)
    shape = (len(nodes), max((len(node.devices) for node in nodes), default=0) or 1)
    degraded = np.zeros(shape, dtype=np.bool_)
    grouped: list[int] = []
    for row, node in enumerate(nodes):
        for column, device in enumerate(node.devices):
            if device.health is Health.DEGRADED:
                degraded[row, column] = True
            if device.grouped and (not grouped or grouped[-1] != row):
                grouped.append(row)
    groups = {level: ids for level in WITHIN_NODE if (ids := _groups(nodes, level, grouped, shape)) is not None}
    return Levels(domains, groups, degraded, np.flatnonzero(degraded.any(axis=1)))


def alike(one: Node, other: Node) -> bool:
    """Whether two states of a node are the same in all that `Levels` tells."""
    return (one.engine, one.site, one.domains) == (other.engine, other.site, other.domains) and _devices(
        one
    ) == _devices(other)


def _devices(node: Node) -> list[tuple[str, str, str, bool]]:
    return [(device.nvlink, device.numa, device.pcie, device.health is Health.DEGRADED) for device in node.devices]


def _domains(nodes: Sequence[Node], level: Level, inner: NDArray[np.int64]) -> NDArray[np.int64]:
    """Nodes that tell no domain of `level` but share the one within it, numbered `inner`, share this one too."""
    outward = BETWEEN_NODES[BETWEEN_NODES.index(level) :]
    numbers: dict[tuple[str | int, ...], int] = {}
    ids = np.full(len(nodes), UNKNOWN, dtype=np.int64)
    for row, node in enumerate(nodes):
        key: tuple[str | int, ...] = (node.engine, *(node.domain(one) for one in outward))
        if not node.domain(level):
            key = (int(inner[row]),)
        if key != (UNKNOWN,):
            ids[row] = numbers.setdefault(key, len(numbers))
    return ids


def _groups(
    nodes: Sequence[Node], level: Level, grouped: Sequence[int], shape: tuple[int, int]
) -> NDArray[np.int64] | None:
    ids = np.full(shape, UNKNOWN, dtype=np.int64)
    for row in grouped:
        numbers: dict[str, int] = {}
        for column, device in enumerate(nodes[row].devices):
            if word := device.group(level):
                ids[row, column] = numbers.setdefault(word, len(numbers))
    return ids if (ids != UNKNOWN).any() else None
