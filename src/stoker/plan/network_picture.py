"""A picture of a network as SVG: a row a layer, with as many boxes as can be told apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from itertools import pairwise

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


@dataclass(frozen=True)
class _Row:
    """A layer. Its boxes are switches, planes of cores, servers, or groups of servers with the same leaves."""

    kind: str
    title: str
    note: str
    boxes: tuple[tuple[int, str], ...]  # place and label; a gap has the place -1
    above: Callable[[int, int], bool] = lambda _here, _upper: False  # whether a cable goes to that box of the next


def picture(network: Network) -> str:
    """The whole SVG document."""
    rows = _rows(network)
    height = _TOP + _ROW * len(rows)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">'
        f"<title>{escape(_title(network))}</title><style>{_STYLE}</style>"
        f'<text x="20" y="26">{escape(_title(network))}</text>'
    )
    body = [_links(row, below, index) for index, (row, below) in enumerate(pairwise(rows))]
    body += [_boxes(row, index) for index, row in enumerate(rows)]
    return head + "".join(body) + "</svg>\n"


def _title(network: Network) -> str:
    wish = network.wish
    way = "by rails" if network.rails else "by racks"
    return f"{wish.servers:,} servers x {wish.nics} ports of {wish.speed * 8 / 1e9:g} Gb/s, {way}"


def _rows(network: Network) -> list[_Row]:
    """Top layer first."""
    return [row for row in (_cores(network), _spines(network), _leaves(network), _servers(network)) if row]


def _cores(network: Network) -> _Row | None:
    if network.layers < 3:
        return None
    labels = [f"plane {plane + 1}: {network.plane_cores}" for plane in range(network.planes)]
    return _Row("core", f"{network.cores:,} cores", network.wish.spine.name, _some(labels))


def _spines(network: Network) -> _Row | None:
    if network.layers < 2:
        return None
    names = Names(network)
    labels = [name for pod in range(network.pods) for name in names.spines(pod)]
    note = f"{network.wish.spine.name}, {network.leaf_links:,} links below"
    return _Row("spine", f"{network.spines:,} spines", note, _some(labels),
                lambda spine, plane: spine % network.pod_spines // network.plane_spines == plane)  # fmt: skip


def _leaves(network: Network) -> _Row:
    names = Names(network)
    note = f"{network.wish.leaf.name}, {network.down} down, {network.uplinks} up"
    labels = [names.leaf(leaf) for leaf in range(network.leaves)]
    return _Row("leaf", f"{network.leaves:,} leaves", note, _some(labels),
                lambda leaf, spine: leaf // network.pod_leaves == spine // network.pod_spines)  # fmt: skip


def _servers(network: Network) -> _Row:
    wish, names, size = network.wish, Names(network), network.group_servers
    if network.groups == 1:
        labels, size = [names.server(server) for server in range(wish.servers)], 1
    else:
        labels = [
            f"{min(size, wish.servers - group * size)} from {names.server(group * size)}"
            for group in range(network.groups)
        ]
    return _Row("server", f"{wish.servers:,} servers", f"{wish.nics} ports each", _some(labels),
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
