"""A picture of a network as SVG: a row a layer, with as many boxes as can be told apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Protocol

from stoker.plan.network import Network
from stoker.plan.network_lists import Names

_WIDTH, _ROW, _TOP, _BOX, _LEFT = 1000, 110, 50, 34, 190
_MOST = 12  # boxes of a row
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#333}.small{font-size:11px;fill:#777}"
    ".box{stroke:#456;stroke-width:1}.core{fill:#cfe0f5}.spine{fill:#d9ecd9}.leaf{fill:#fbe8c9}.server{fill:#eee}"
    ".link{stroke:#9ab;stroke-width:.7}"
    "@media(prefers-color-scheme:dark){svg{background:#181a1b}text{fill:#ddd}.small{fill:#999}.box{stroke:#89a}"
    ".core{fill:#274564}.spine{fill:#2c4c2c}.leaf{fill:#5c4620}.server{fill:#333}.link{stroke:#567}}"
)


ENGLISH: Mapping[str, str] = {
    "title": "{servers} servers x {nics} ports of {speed} Gb/s",
    "cores": "{count} cores",
    "spines": "{count} spines",
    "leaves": "{count} leaves",
    "servers": "{count} servers",
    "plane": "plane {number}: {cores}",
    "group": "{count} from {first}",
    "links_below": "{model}, {links} links below",
    "down_up": "{model}, {down} down, {up} up",
    "ports_each": "{nics} ports each",
}


class Say(Protocol):
    """One of the texts above, filled, in somebody's language."""

    def __call__(self, key: str, /, **values: object) -> str: ...


def english(key: str, /, **values: object) -> str:
    return ENGLISH[key].format(**values)


@dataclass(frozen=True)
class _Row:
    """A layer. Its boxes are switches, planes of cores, servers, or groups of servers with the same leaves."""

    kind: str
    title: str
    note: str
    boxes: tuple[tuple[int, str], ...]  # place and label; a gap has the place -1
    above: Callable[[int, int], bool] = lambda _here, _upper: False  # whether a cable goes to that box of the next


def picture(network: Network, *, style: bool = True, say: Say = english) -> str:
    """The whole SVG document; without its style for a page that has its own for the same classes."""
    rows = _rows(network, say)
    height = _TOP + _ROW * (len(rows) - 1) + _BOX + 16
    wish = network.wish
    speed = f"{wish.speed * 8 / 1e9:g}"
    title = escape(say("title", servers=f"{wish.servers:,}", nics=wish.nics, speed=speed))
    look = f"<style>{_STYLE}</style>" if style else ""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">'
        f'<title>{title}</title>{look}<text x="20" y="26">{title}</text>'
    )
    body = [_links(row, below, index) for index, (row, below) in enumerate(pairwise(rows))]
    body += [_boxes(row, index) for index, row in enumerate(rows)]
    return head + "".join(body) + "</svg>\n"


def _rows(network: Network, say: Say) -> list[_Row]:
    """Top layer first."""
    upper = (_cores(network, say), _spines(network, say))
    return [row for row in (*upper, _leaves(network, say), _servers(network, say)) if row]


def _cores(network: Network, say: Say) -> _Row | None:
    if network.layers < 3:
        return None
    labels = [say("plane", number=plane + 1, cores=network.plane_cores) for plane in range(network.planes)]
    return _Row("core", say("cores", count=f"{network.cores:,}"), network.wish.spine.name, _some(labels))


def _spines(network: Network, say: Say) -> _Row | None:
    if network.layers < 2:
        return None
    names = Names(network)
    labels = [name for pod in range(network.pods) for name in names.spines(pod)]
    note = say("links_below", model=network.wish.spine.name, links=f"{network.leaf_links:,}")
    return _Row("spine", say("spines", count=f"{network.spines:,}"), note, _some(labels),
                lambda spine, plane: spine % network.pod_spines // network.plane_spines == plane)  # fmt: skip


def _leaves(network: Network, say: Say) -> _Row:
    names = Names(network)
    note = say("down_up", model=network.wish.leaf.name, down=network.down, up=network.uplinks)
    labels = [names.leaf(leaf) for leaf in range(network.leaves)]
    return _Row("leaf", say("leaves", count=f"{network.leaves:,}"), note, _some(labels),
                lambda leaf, spine: leaf // network.pod_leaves == spine // network.pod_spines)  # fmt: skip


def _servers(network: Network, say: Say) -> _Row:
    wish, names, size = network.wish, Names(network), network.group_servers
    if network.groups == 1:
        labels, size = [names.server(server) for server in range(wish.servers)], 1
    else:
        labels = [
            say("group", count=min(size, wish.servers - group * size), first=names.server(group * size))
            for group in range(network.groups)
        ]
    title, note = say("servers", count=f"{wish.servers:,}"), say("ports_each", nics=wish.nics)
    return _Row("server", title, note, _some(labels),
                lambda box, leaf: leaf // network.group_leaves == box * size // network.group_servers)  # fmt: skip


def _some(labels: list[str]) -> tuple[tuple[int, str], ...]:
    """All, or the first ones and the last with a gap between."""
    boxes = tuple(enumerate(labels))
    return boxes if len(boxes) <= _MOST else (*boxes[: _MOST - 2], (-1, ""), boxes[-1])


def _places(row: _Row) -> list[float]:
    """x of the middle of each box."""
    step = (_WIDTH - _LEFT - 20) / len(row.boxes)
    return [_LEFT + step * (index + 0.5) for index in range(len(row.boxes))]


def _links(row: _Row, below: _Row, index: int) -> str:
    """A line between two boxes stands for all cables between them."""
    top, bottom = _TOP + _ROW * index + _BOX, _TOP + _ROW * (index + 1)
    return "".join(
        f'<line class="link" x1="{upper:.1f}" y1="{top}" x2="{lower:.1f}" y2="{bottom}"/>'
        for upper, (there, _) in zip(_places(row), row.boxes, strict=True)
        for lower, (here, _) in zip(_places(below), below.boxes, strict=True)
        if there >= 0 and here >= 0 and below.above(here, there)
    )


def _boxes(row: _Row, index: int) -> str:
    y, wide = _TOP + _ROW * index, (_WIDTH - _LEFT - 20) / len(row.boxes) * 0.86
    wide = min(wide, 120.0)
    parts = [f'<text x="20" y="{y + 15}">{escape(row.title)}</text>']
    parts.append(f'<text class="small" x="20" y="{y + 31}">{escape(row.note)}</text>')
    for x, (_, label) in zip(_places(row), row.boxes, strict=True):
        if not label:
            parts.append(f'<text x="{x:.1f}" y="{y + 21}" text-anchor="middle">…</text>')
            continue
        parts.append(
            f'<rect class="box {row.kind}" x="{x - wide / 2:.1f}" y="{y}" width="{wide:.1f}" height="{_BOX}"/>'
            f'<text class="small" x="{x:.1f}" y="{y + 21}" text-anchor="middle" textLength="{wide * 0.9:.1f}" '
            f'lengthAdjust="spacingAndGlyphs">{escape(label)}</text>'
        )
    return "".join(parts)
