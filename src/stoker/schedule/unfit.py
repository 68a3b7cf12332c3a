"""Whether a job could ever run on what there is. Said at submit, so that nobody waits for the impossible."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from stoker.cluster import Device, Health, Node
from stoker.engine_config import LOCAL
from stoker.errors import near
from stoker.job import JobSpec, Resources
from stoker.schedule.elastic import least
from stoker.schedule.field import Field, acceptable, admits, away_from_here
from stoker.topology import ANYWHERE, WITHIN_NODE
from stoker.units import format_bytes


def unfit(spec: JobSpec, nodes: Sequence[Node]) -> str:
    """Why `spec` can never run on `nodes` even when they are empty, in one line; empty when it can."""
    spec = least(spec)
    engines = {node.engine for node in nodes}
    if spec.engine and spec.engine not in engines:
        return f'asks for engine "{spec.engine}"{near(spec.engine, engines)}'
    sites = {node.site for node in nodes if node.site}
    if spec.sites and not sites.intersection(spec.sites):
        return (
            f"asks for the site {' or '.join(spec.sites)}{near(spec.sites[0], sites) or '; no engine has a site'}"
        )
    if engines == {LOCAL} and away_from_here(spec):
        what = "a container image" if spec.image else "a reservation of Slurm's"
        return f"asks for {what}; this machine has none: add an engine that has, see stoker engine add"
    offered = [node for node in nodes if admits(node, spec)]
    if not offered:
        taints = sorted({taint for node in nodes for taint in node.taints})
        return f"tolerates none of: {', '.join(taints)}" if taints else "asks for a node; there is none"
    fitting = Field.empty(offered).fitting(spec)
    if not fitting:
        return _not_joined(spec, offered) or next(
            reason for check in _CHECKS if (reason := check(spec.resources, offered))
        )
    most = max(sum(node.engine == engine for node in fitting) for engine in engines)
    if spec.nodes > most:
        return f"asks for {spec.nodes} nodes; {most} could hold it"
    return "" if Field.empty(offered).fit(spec)[1] else _too_far_apart(spec, fitting)


def _too_far_apart(spec: JobSpec, fitting: Sequence[Node]) -> str:
    """Why no domain of the level that is required holds all of it."""
    level = spec.topology.required
    if level is None:
        return f"asks for {spec.nodes} nodes; they cannot be had together"
    sizes = Counter((node.engine, node.domain(level)) for node in fitting if node.domain(level))
    if not sizes:
        return f"requires one {level}; no node tells which it is in: see stoker nodes topology"
    return f"asks for {spec.nodes} nodes of one {level}; the largest has {max(sizes.values())} that could hold it"


def _not_joined(spec: JobSpec, nodes: Sequence[Node]) -> str:
    level, apart = spec.topology.required, replace(spec, topology=ANYWHERE)
    if level not in WITHIN_NODE or not Field.empty(nodes).fitting(apart):
        return ""
    if not any(device.group(level) for node in nodes for device in node.devices):
        return f"requires devices of one {level} group; no node tells of any: see stoker nodes topology"
    return (
        f"asks for {spec.resources.accelerators} devices of one {level} group on a node; no node has so large a one"
    )


def _no_model(need: Resources, nodes: Sequence[Node]) -> str:
    if not need.accelerators or _most(nodes, need):
        return ""
    models = sorted({device.model for node in nodes for device in _usable(node)})
    there = f"there are: {', '.join(models)}" if models else "there is none"
    return f"asks for {need.accelerators} × {' or '.join(need.models) or 'device'}; {there}"


def _too_many_devices(need: Resources, nodes: Sequence[Node]) -> str:
    most = _most(nodes, need)
    if need.accelerators <= most:
        return ""
    kind = f"{' or '.join(need.models)} devices" if need.models else "devices"
    return f"asks for {need.accelerators} {kind}; the largest node has {most}"


def _too_many_cpus(need: Resources, nodes: Sequence[Node]) -> str:
    most = max(node.cpus for node in nodes)
    return f"asks for {need.cpus} CPUs; the largest node has {most}" if need.cpus > most else ""


def _too_much_memory(need: Resources, nodes: Sequence[Node]) -> str:
    most = max(node.memory for node in nodes)
    if need.memory <= most:
        return ""
    return f"asks for {format_bytes(need.memory)} of memory; the largest node has {format_bytes(most)}"


def _not_together(need: Resources, nodes: Sequence[Node]) -> str:
    del nodes
    return (
        f"asks for {need.cpus} CPUs, {format_bytes(need.memory)} and {need.accelerators} devices;"
        " no single node has all of them"
    )


_CHECKS: tuple[Callable[[Resources, Sequence[Node]], str], ...] = (
    _no_model,
    _too_many_devices,
    _too_many_cpus,
    _too_much_memory,
    _not_together,
)


def _usable(node: Node) -> list[Device]:
    return [device for device in node.devices if device.health is not Health.FAILED]


def _most(nodes: Sequence[Node], need: Resources) -> int:
    """The most acceptable devices of one model on one node."""
    counts: dict[tuple[str, str], int] = {}
    for node in nodes:
        for device in _usable(node):
            if acceptable(device.model, need):
                counts[node.name, device.model] = counts.get((node.name, device.model), 0) + 1
    return max(counts.values(), default=0)
