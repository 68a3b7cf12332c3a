"""``stoker nodes topology``: where nodes are in the network, and which of their devices belong together."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Annotated

import typer

from stoker.cli.render import AsJson, columns, print_json, say
from stoker.cli.session import connect
from stoker.cli.texts import t
from stoker.cluster import Node
from stoker.errors import BadInput
from stoker.hostlist import expand_all
from stoker.topology import BETWEEN_NODES, WITHIN_NODE, Level
from stoker.topology_file import levels_told, read_topology

app = typer.Typer(
    help="Show and say where nodes are in the network.", invoke_without_command=True, add_completion=False,
    rich_markup_mode=None,
)  # fmt: skip


@app.callback()
def show(ctx: typer.Context, json: AsJson = False) -> None:
    """Show and say where nodes are in the network.

    Alone it shows for each node its leaf, pod and so on, and which of its devices share NVLink, a socket or a PCIe
    switch: what its engine tells, and over it what was said here.
    """
    if ctx.invoked_subcommand is not None:
        return
    nodes = connect().nodes()
    if json:
        print_json([{"node": one.name, "engine": one.engine, "domains": one.domains} for one in nodes])
        return
    levels = [level for level in BETWEEN_NODES if any(node.domain(level) for node in nodes)]
    if not levels and not any(device.grouped for node in nodes for device in node.devices):
        say(t("nothing is known; say it with: stoker nodes topology apply -f FILE"))
        return
    say(columns(("NODE", "ENGINE", *(level.upper() for level in levels), "DEVICES"), _rows(nodes, levels)))


def _rows(nodes: Sequence[Node], levels: Sequence[Level]) -> list[Sequence[str]]:
    return [
        (node.name, node.engine, *(node.domain(level) or "-" for level in levels), _groups(node) or "-")
        for node in nodes
    ]


def _groups(node: Node) -> str:
    """``nvlink 0-7; pcie 0-1 2-3 4-5 6-7``"""
    told = []
    for level in WITHIN_NODE:
        groups: dict[str, list[int]] = {}
        for device in node.devices:
            if word := device.group(level):
                groups.setdefault(word, []).append(device.index)
        if groups:
            told.append(f"{level} {' '.join(map(_ranges, groups.values()))}")
    return "; ".join(told)


def _ranges(indexes: Sequence[int]) -> str:
    """``0-3,6``"""
    runs = [
        [index for _, index in run]
        for _, run in groupby(enumerate(sorted(indexes)), key=lambda pair: pair[1] - pair[0])
    ]
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


@app.command()
def apply(
    file: Annotated[Path, typer.Option("--file", "-f", help="YAML, or a table: node,leaf,pod. - reads it here.")],
    json: AsJson = False,
) -> None:
    """Say where nodes are; what was said of other nodes stays.

    It wins over what their engines tell. Nodes that are not in the pool yet may be named.
    """
    entries = read_topology(_read(file), source=str(file))
    client = connect()
    known = client.pool.apply_topology(entries)
    if json:
        print_json(known)
        return
    names = {name for node in client.nodes() for name in (node.name, node.machine, node.address)}
    values = {"count": len(entries), "here": len(names & entries.keys()), "levels": ", ".join(levels_told(entries))}
    say(t("{count} nodes: {levels}; {here} of them are in the pool", **values))


@app.command()
def clear(
    nodes: Annotated[list[str] | None, typer.Argument(metavar="NODE...", help="Names or expressions.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Whatever was said here.")] = False,
) -> None:
    """Forget what was said of nodes; what their engines tell stays."""
    if bool(nodes) == everything:
        raise BadInput("name the nodes, or give --all")
    connect().pool.clear_topology(expand_all(nodes or ()))
    say(t("forgotten"))


def _read(file: Path) -> str:
    if str(file) == "-":
        return typer.get_text_stream("stdin").read()
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise BadInput(f"{file}: {reason}") from None
