"""What every page of plans is built of: a form that is its own address, tables, and bars as SVG.

Bars are geometry, as in ``chart``: percent of the plot, no library, no script; colours come from CSS.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from starlette.responses import Response

from stoker.console.session import View
from stoker.console.texts import Say
from stoker.errors import BadInput
from stoker.perf.hardware import Hardware
from stoker.perf.models import models
from stoker.sources.hardware_file import hardware

_SERVER = 8  # cards
_MOST = 4096  # cards a page looks for layouts on; the command line takes more


@dataclass(frozen=True)
class Field:
    """One field of the form. With `options` it is chosen, else written."""

    name: str
    label: str
    value: str
    options: tuple[str, ...] = ()
    wide: bool = False


@dataclass(frozen=True)
class Segment:
    left: float  # % of the plot
    width: float
    tone: int
    title: str


@dataclass(frozen=True)
class Bar:
    label: str
    shown: str
    segments: tuple[Segment, ...]
    mark: float = -1.0  # %: a line across, where there is a limit


@dataclass(frozen=True)
class Chart:
    """Bars over the same scale. `legend`: tone and word of each part."""

    bars: tuple[Bar, ...]
    legend: tuple[tuple[int, str], ...] = ()
    describe: str = ""


@dataclass(frozen=True)
class Table:
    header: tuple[str, ...]  # numbers stand right, but for the first column and those in `words`
    rows: tuple[tuple[str, ...], ...]
    words: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Section:
    """A panel. `basis` is folded away until it is asked for: formulas and inputs, one a line."""

    id: str
    title: str
    note: str = ""
    chart: Chart | None = None
    table: Table | None = None
    lines: tuple[str, ...] = ()
    basis: tuple[str, ...] = ()


@dataclass(frozen=True)
class Page:
    kind: str
    fields: tuple[Field, ...]
    sections: tuple[Section, ...] = ()
    wrong: str = ""


def show(view: View, page: Page) -> Response:
    return view.page("plan.html", page=page)


def form(say: Say, asked: Any, options: Mapping[str, Sequence[str]], wide: Sequence[str] = ()) -> tuple[Field, ...]:
    """The fields of `asked`, a dataclass of texts, in their order."""
    return tuple(
        Field(
            one.name,
            say(f"plan_field.{one.name}"),
            getattr(asked, one.name),
            tuple(options.get(one.name, ())),
            one.name in wide,
        )
        for one in fields(asked)
    )


def stacked(
    rows: Sequence[tuple[str, str, Mapping[str, float]]], names: Mapping[str, str], describe: str = ""
) -> Chart:
    """Rows of parts that add up, over the scale of the longest row. `names`: words of the parts, in order."""
    longest = max((sum(parts.values()) for _, _, parts in rows), default=0.0) or 1.0
    tones = {name: tone for tone, name in enumerate(names, start=1)}
    bars = []
    for label, shown, parts in rows:
        left, segments = 0.0, []
        for name in names:
            width = 100.0 * parts.get(name, 0.0) / longest
            if width >= 0.05:
                segments.append(Segment(round(left, 2), round(width, 2), tones[name], names[name]))
            left += width
        bars.append(Bar(label, shown, tuple(segments)))
    used = {segment.tone for bar in bars for segment in bar.segments}
    return Chart(
        tuple(bars), tuple((tones[name], word) for name, word in names.items() if tones[name] in used), describe
    )


def plain(rows: Sequence[tuple[str, str, float]], describe: str = "", limit: float = 0.0) -> Chart:
    """One bar a row, against the largest of them or `limit`, which is drawn across."""
    longest = max([limit, *(value for _, _, value in rows)]) or 1.0
    mark = round(100.0 * limit / longest, 2) if limit else -1.0
    bars = tuple(
        Bar(label, shown, (Segment(0.0, round(max(0.2, 100.0 * value / longest), 2), 1, label),), mark)
        for label, shown, value in rows
    )
    return Chart(bars, (), describe)


def names() -> tuple[str, ...]:
    """Of the catalogue's models: a page reads no files."""
    return tuple(model.name for model in models())


def cluster(card: str, count: str, nic: str = "", storage: Mapping[str, str] | None = None) -> Hardware:
    """Servers of eight. Raises BadInput or NotFound for what is wrong."""
    cards = whole(count, "cards")
    if cards > _MOST or (cards > _SERVER and cards % _SERVER):
        raise BadInput(f"{cards} cards were given; allowed are up to {_MOST:,}, above {_SERVER} in whole servers")
    each = min(cards, _SERVER)
    resources: dict[str, Any] = {"gpu": {"type": card, "count": each}}
    if nic:
        resources["nic"] = {"count": each, "speed": nic}
    described: dict[str, Any] = {"servers": max(1, cards // _SERVER), "resources": resources}
    if storage:
        described["storage"] = dict(storage)
    return hardware(described)


def whole(given: str, what: str) -> int:
    if not given.isascii() or not given.isdigit() or int(given) < 1:
        raise BadInput(f'"{given}" {what} were given; write a whole number of 1 or more')
    return int(given)


def number(given: str, what: str, *, least: float = 0.0) -> float:
    """An empty field is 0. Raises BadInput for what is no number, or below `least`."""
    try:
        found = float(given or 0)
    except ValueError:
        raise BadInput(f'{what} "{given}" was given; write a number, as 40 or 300e9') from None
    if not math.isfinite(found) or found < least:
        raise BadInput(f"{what} {given} was given; it must be {least:g} or more")
    return found
