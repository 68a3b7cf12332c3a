"""How the command line prints: aligned columns, or JSON."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def width(text: str) -> int:
    """Terminal cells of `text`: Chinese characters take two."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


def clean(text: str) -> str:
    """`text` without control characters: what jobs and people wrote must not steer the terminal."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def columns(header: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[str] = ()) -> str:
    """A table with two spaces between columns; columns named in `right` are aligned to the right."""
    table = [list(header), *([clean(cell) for cell in row] for row in rows)]
    widths = [max(width(row[place]) for row in table) for place in range(len(header))]
    lines = []
    for row in table:
        cells = [
            " " * (widths[place] - width(cell)) + cell
            if header[place] in right
            else cell + " " * (widths[place] - width(cell))
            for place, cell in enumerate(row)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Names and values below each other; pairs without a value are left out."""
    kept = [(name, value) for name, value in pairs if value]
    margin = max((width(name) for name, _ in kept), default=0)
    return "\n".join(f"{name}{' ' * (margin - width(name))}  {clean(value)}" for name, value in kept)


def say(text: str = "") -> None:
    print(text, flush=True)


def note(text: str) -> None:
    """A word beside the output, for people: on stderr."""
    print(f"stoker: {clean(text)}", file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """One of our dataclasses, or a sequence of them."""
    from stoker.typed import dump

    plain = [dump(item) for item in value] if isinstance(value, (list, tuple)) else dump(value)
    print(json.dumps(plain, ensure_ascii=False, indent=1), flush=True)


def moment(at: float | None) -> str:
    """Local time: ``2026-11-21 14:03:07``."""
    return "" if at is None else datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")
