"""Refusals: what each node lacks for one node's part of a job, all nodes at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np

from stoker.cluster import WHOLE, Health, Node
from stoker.explanation import NodeRefusal, Refusal
from stoker.job import JobSpec, Resources
from stoker.schedule.field import Field, acceptable, admits
from stoker.schedule.layout import Bools, Ints

# In this order: a node counts under the first that holds for it.
_ORDER = tuple(refusal for refusal in Refusal if refusal is not Refusal.AWAY)
# A node that lacks one of these could hold the job's part once it is empty.
OPEN = frozenset(
    {
        Refusal.DEVICES, Refusal.CPUS, Refusal.MEMORY, Refusal.SLOTS, Refusal.OCCUPIED, Refusal.TOPOLOGY,
        Refusal.RESERVED, Refusal.FREE,
    }
)  # fmt: skip


@dataclass(frozen=True)
class Refusals:
    """By row of the field's layout; then the nodes of engines that are away."""

    codes: Ints  # place in _ORDER
    free: Ints  # devices free now, of the models that it accepts
    total: Ints  # devices of those models, failed ones included
    failed: Ints
    away: tuple[Node, ...] = ()

    def of(self, refusals: Collection[Refusal]) -> Bools:
        """The rows that lack one of these."""
        found: Bools = np.isin(self.codes, [_ORDER.index(refusal) for refusal in refusals])
        return found

    def counts(self) -> dict[Refusal, int]:
        """How many nodes lack what; together all nodes."""
        found = np.bincount(self.codes, minlength=len(_ORDER))
        counted = {refusal: int(count) for refusal, count in zip(_ORDER, found, strict=True) if count}
        return ({Refusal.AWAY: len(self.away)} if self.away else {}) | counted


def refusals(
    field: Field, spec: JobSpec, *, reserved: Bools | None = None, away: tuple[Node, ...] = ()
) -> Refusals:
    """What the nodes of `field` lack for `spec`; rows that are `reserved` are kept for a job ahead of it."""
    layout, need = field.layout, spec.resources
    nodes = layout.nodes
    failed = np.array([_failed(node, need) for node in nodes], dtype=np.int64)
    whole, free = _most(field, need, layout.whole()), _most(field, need, field.free)
    memory = need.memory or layout.ration * max(1, need.cpus)
    elsewhere, tainted = _kept_away(nodes, spec)
    closed = np.array([not node.schedulable for node in nodes], dtype=np.bool_)
    lacks = {
        Refusal.ELSEWHERE: elsewhere,
        Refusal.MODEL: (whole + failed == 0) & (need.accelerators > 0),
        Refusal.FAILED: (whole < need.accelerators) & (whole + failed >= need.accelerators),
        Refusal.SMALL: (whole < need.accelerators) | (layout.cpus < need.cpus) | (layout.memory < memory),
        Refusal.TAINT: tainted,
        Refusal.DRAINED: closed,
        Refusal.OCCUPIED: spec.exclusive & ~field.room.untouched(np.arange(len(nodes))),
        Refusal.DEVICES: free < need.accelerators,
        Refusal.CPUS: field.cpus < need.cpus,
        Refusal.MEMORY: field.room.memory < memory,
        Refusal.SLOTS: field.room.slots < 1,
        Refusal.TOPOLOGY: ~_fitting(field, spec),
        Refusal.RESERVED: np.zeros(len(nodes), dtype=np.bool_) if reserved is None else reserved,
    }
    codes = np.full(len(nodes), _ORDER.index(Refusal.FREE), dtype=np.int64)
    for refusal in reversed([one for one in _ORDER if one in lacks]):
        codes[lacks[refusal]] = _ORDER.index(refusal)
    return Refusals(codes, free, whole + failed, failed, away)


def by_node(field: Field, found: Refusals, why_away: Mapping[str, str]) -> tuple[NodeRefusal, ...]:
    """One line for each node, those of engines that are away last."""
    told = [
        NodeRefusal(
            node.name,
            node.engine,
            _ORDER[found.codes[row]],
            int(found.free[row]),
            int(found.total[row]),
            int(found.failed[row]),
            max(0, int(field.cpus[row])),
            max(0, int(field.room.memory[row])),
            node.reason if not node.schedulable else ", ".join(node.taints),
        )
        for row, node in enumerate(field.layout.nodes)
    ]
    told += [
        NodeRefusal(node.name, node.engine, Refusal.AWAY, why=why_away.get(node.engine, "")) for node in found.away
    ]
    return tuple(told)


def _fitting(field: Field, spec: JobSpec) -> Bools:
    """Rows on which one node's part fits; what all else allows, only the topology of devices can refuse."""
    if spec.topology.required is None or not spec.topology.required.within_node:
        return np.ones(len(field.layout.nodes), dtype=np.bool_)
    names = {node.place for node in field.fitting(spec)}
    return np.array([node.place in names for node in field.layout.nodes], dtype=np.bool_)


def _most(field: Field, need: Resources, free: Ints) -> Ints:
    """By row, the most devices of one acceptable model of which the share that is asked for is free."""
    layout = field.layout
    most = np.zeros(len(layout.nodes), dtype=np.int64)
    able = free >= min(need.milli, WHOLE)
    for number, name in enumerate(layout.models, start=1):
        if acceptable(name, need):
            np.maximum(most, ((layout.model == number) & able).sum(axis=1), out=most)
    return most


def _failed(node: Node, need: Resources) -> int:
    return sum(device.health is Health.FAILED and acceptable(device.model, need) for device in node.devices)


def _kept_away(nodes: tuple[Node, ...], spec: JobSpec) -> tuple[Bools, Bools]:
    """Rows where it may not be whatever it tolerates, and those where only a taint keeps it away."""
    tainted = [not all(taint in spec.tolerations for taint in node.taints) for node in nodes]
    refused = [not admits(node, spec) for node in nodes]
    taints = np.array(tainted, dtype=np.bool_)
    alone = np.array([_only_tainted(node, spec) for node in nodes], dtype=np.bool_) if taints.any() else taints
    return np.array(refused, dtype=np.bool_) & ~alone, alone


def _only_tainted(node: Node, spec: JobSpec) -> bool:
    return not admits(node, spec) and admits(replace(node, taints=()), spec)
