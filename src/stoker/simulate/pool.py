"""The simulated pool: nodes from a short form, a file, or as many as a trace needs."""

from __future__ import annotations

import csv
import io
import math
import re
from pathlib import Path
from typing import Any

import yaml

from stoker.cluster import Device, Health, Node
from stoker.errors import BadInput
from stoker.simulate.trace import Trace
from stoker.units import parse_bytes

ENGINE = "simulated"
_SHORT = re.compile(r"^(?P<nodes>\d+)x(?P<model>[A-Za-z0-9_.-]+):(?P<devices>\d+)$")
_MOST_NODES = 100_000


def nodes_of(text: str) -> tuple[Node, ...]:
    """Nodes from ``8xH100:8`` (several parts with commas), a YAML file, or a CSV of openb's nodes.

    YAML: a list of ``{count, name, model, devices, cpus, memory, labels}``. Raises BadInput.
    """
    path = Path(text)
    if path.suffix.lower() in (".yaml", ".yml", ".csv") or path.is_file():
        return _from_file(path)
    nodes: list[Node] = []
    for part in text.split(","):
        match = _SHORT.match(part.strip())
        if not match:
            raise BadInput(
                f'cluster "{text}" was given; write NODESxMODEL:DEVICES, as 8xH100:8, or a YAML or CSV file',
                param="cluster",
            )
        nodes += _alike(len(nodes), int(match["nodes"]), match["model"], int(match["devices"]))
    return _checked(nodes, text)


def _alike(
    first: int, count: int, model: str, devices: int, *, cpus: int = 0, memory: int = 0, name: str = "node"
) -> list[Node]:
    """Nodes that differ in name alone; 16 CPUs and 128 GiB a device where nothing is said."""
    if count > _MOST_NODES:
        raise BadInput(f"{count} nodes were given; allowed is up to {_MOST_NODES}", param="cluster")
    held = tuple(Device(index, model, health=Health.OK) for index in range(devices))
    return [
        Node(
            f"{name}{first + number:04d}",
            ENGINE,
            cpus or 16 * max(1, devices),
            memory or max(1, devices) << 37,
            held,
        )
        for number in range(count)
    ]


def _from_file(path: Path) -> tuple[Node, ...]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cluster {path} cannot be read: {getattr(error, 'strerror', '') or error}") from None
    try:
        return _checked(_csv_nodes(text) if path.suffix.lower() == ".csv" else _yaml_nodes(text), str(path))
    except (KeyError, ValueError, TypeError, AttributeError, yaml.YAMLError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise BadInput(f"cluster {path} cannot be read: {what}") from None


def _csv_nodes(text: str) -> list[Node]:
    """openb's node lists: sn, cpu_milli, memory_mib, gpu, model."""
    return [
        Node(
            row["sn"],
            ENGINE,
            int(row["cpu_milli"]) // 1000,
            int(row["memory_mib"]) << 20,
            tuple(Device(index, row["model"], health=Health.OK) for index in range(int(row["gpu"]))),
        )
        for row in csv.DictReader(io.StringIO(text))
    ]


def _yaml_nodes(text: str) -> list[Node]:
    given = yaml.safe_load(text)
    groups: Any = given.get("nodes") if isinstance(given, dict) else given
    if not isinstance(groups, list):
        raise ValueError("it is no list of nodes; write - {count: 8, model: H100, devices: 8}")  # noqa: TRY004
    nodes: list[Node] = []
    for group in groups:
        if unknown := set(group) - {"count", "name", "model", "devices", "cpus", "memory"}:
            raise ValueError(f"there is no field {', '.join(sorted(unknown))}")
        nodes += _alike(
            len(nodes),
            int(group.get("count", 1)),
            str(group.get("model", "GPU")),
            int(group.get("devices", 0)),
            cpus=int(group.get("cpus", 0)),
            memory=parse_bytes(group.get("memory", 0)),
            name=str(group.get("name", "node")),
        )
    return nodes


def _checked(nodes: list[Node], what: str) -> tuple[Node, ...]:
    if not nodes:
        raise BadInput(f'cluster "{what}" has no nodes', param="cluster")
    return tuple(nodes)


def needed(trace: Trace, *, devices_per_node: int = 8, share: float = 0.8) -> tuple[Node, ...]:
    """As many nodes as keep `share` of their devices busy with the trace on average, and hold its largest job."""
    largest = max((job.spec.nodes for job in trace.jobs), default=1)
    busy = trace.device_seconds / max(trace.span, *(job.work for job in trace.jobs)) / share
    count = max(largest, math.ceil(busy / devices_per_node), 1)
    return _checked(_alike(0, count, "GPU", devices_per_node), trace.name)
