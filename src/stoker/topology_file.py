"""Topology file: where nodes are, as people write it down. YAML, or a table with a column for each level.

    nodes:
      gpu[001-032]: {leaf: s1, pod: p1}
      gpu[033-064]: {leaf: s2, pod: p1}
    devices:
      gpu[001-064]: {nvlink: [0-7], numa: [0-3, 4-7], pcie: [0-1, 2-3, 4-5, 6-7]}

    node,leaf,pod
    gpu001,s1,p1

Names are those of nodes, machines or addresses. Levels may be written as elsewhere: rack, spine, ASW, PSW, DSW.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

import yaml

from stoker.errors import BadInput, StokerError, TooLarge
from stoker.hostlist import expand
from stoker.node_topology import NodeTopology
from stoker.topology import Level, parse_level

MOST = 16 << 20  # bytes of a file
_NODE_COLUMNS = ("node", "name", "host", "hostname", "ip", "address")


def read_topology(text: str, *, source: str = "topology file") -> dict[str, NodeTopology]:
    """By name of the node. Raises BadInput, which begins with `source` and names the line or field."""
    if len(text) > MOST:
        raise TooLarge(f"{source}: over {MOST >> 20} MiB")
    header = text.lstrip().partition("\n")[0]
    try:
        return _table(text) if "," in header and ":" not in header else _yaml(text)
    except StokerError as error:
        raise BadInput(f"{source}: {error}", param=error.param) from None
    except (yaml.YAMLError, csv.Error, RecursionError, ValueError, OverflowError) as error:
        raise BadInput(f"{source}: {' '.join(str(error).split())}") from None


def _table(text: str) -> dict[str, NodeTopology]:
    rows = csv.DictReader(io.StringIO(text.strip()))
    names = [name for name in rows.fieldnames or () if name.strip().lower() in _NODE_COLUMNS]
    if len(names) != 1:
        raise BadInput(
            f"a table has one column that names the node ({', '.join(_NODE_COLUMNS)}); {len(names)} found"
        )
    levels = {name: parse_level(name) for name in rows.fieldnames or () if name not in names}
    found: dict[str, NodeTopology] = {}
    for row in rows:
        node = (row[names[0]] or "").strip()
        if not node or None in row:
            raise BadInput(f"line {rows.line_num}: the node has no name, or there are more values than columns")
        told = {level: (row[name] or "").strip() for name, level in levels.items()}
        found[node] = NodeTopology({level: value for level, value in told.items() if value})
    return found


def _yaml(text: str) -> dict[str, NodeTopology]:
    data = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506 - makes texts, lists and mappings of texts alone
    if not isinstance(data, dict) or not data.keys() <= {"nodes", "devices"}:
        raise BadInput(
            "it is a mapping of nodes: and devices:, or a table; write for example nodes: {gpu1: {leaf: s1}}"
        )
    found: dict[str, NodeTopology] = {}
    for name, levels in _each(data, "nodes"):
        domains = {parse_level(level): _text(value, f"nodes: {name}: {level}") for level, value in levels.items()}
        found[name] = found.get(name, NodeTopology()).merged(NodeTopology(domains))
    for name, levels in _each(data, "devices"):
        groups = {
            parse_level(level): _groups(value, f"devices: {name}: {level}") for level, value in levels.items()
        }
        found[name] = found.get(name, NodeTopology()).merged(NodeTopology(groups=groups))
    return found


def _each(data: Mapping[str, Any], section: str) -> list[tuple[str, Mapping[str, Any]]]:
    entries = data.get(section) or {}
    if not isinstance(entries, dict) or not all(isinstance(levels, dict) for levels in entries.values()):
        raise BadInput(
            f"{section} is a mapping of nodes to levels; write for example {section}: {{gpu[1-8]: {{...}}}}"
        )
    return [(name, levels) for expression, levels in entries.items() for name in expand(expression)]


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise BadInput(f"{where}: one name is allowed")
    return value


def _groups(value: Any, where: str) -> tuple[tuple[int, ...], ...]:
    """``[0-3, 4-7]``, or ``all`` for every device of a node of up to 64."""
    if value == "all":
        return (tuple(range(64)),)
    if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
        raise BadInput(f"{where}: a list of groups is allowed; write for example [0-3, 4-7], or all")
    return tuple(_indexes(part, where) for part in value)


def _indexes(text: str, where: str) -> tuple[int, ...]:
    found: list[int] = []
    for part in text.replace("+", " ").split():
        first, dash, last = part.partition("-")
        if not (first.isascii() and first.isdigit() and (not dash or (last.isascii() and last.isdigit()))):
            raise BadInput(f'{where}: "{text}" is no group of devices; write for example 0-3 or "0 2 4"')
        begin, end = int(first[:4]), int((last or first)[:4])
        if end < begin or end > 1023:
            raise BadInput(f'{where}: "{text}" is no range of device indexes')
        found += range(begin, end + 1)
    return tuple(found)


def levels_told(entries: Mapping[str, NodeTopology]) -> list[Level]:
    """The levels that any of them tells, the closest first."""
    told = {level for entry in entries.values() for level in (*entry.groups, *entry.domains)}
    return [level for level in Level if level in told]
