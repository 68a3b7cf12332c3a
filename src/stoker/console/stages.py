"""What training and curation tell, read into forms that pages show: the first batch, what was dropped and why.

Recipes write free JSON. These readers take the shapes the recipes of this package write and pass over anything
else, so a foreign recipe never breaks a page.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

MOST_ROWS = 4  # of the first batch
MOST_TOKENS = 1500  # of one row
MOST_SAMPLES = 5  # dropped records shown for a reason


@dataclass(frozen=True)
class Piece:
    """Neighbouring tokens that are all trained on, or all not."""

    trained: bool
    tokens: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    pieces: tuple[Piece, ...]
    tokens: int
    trained: int


def first_batch(note: Any) -> tuple[Row, ...]:
    """Rows as training notes them: ``[[{"token": "Hi", "trained": false}, ...], ...]``."""
    if not isinstance(note, list):
        return ()
    read = (_row(row) for row in note[:MOST_ROWS])
    return tuple(row for row in read if row)


def _row(row: Any) -> Row | None:
    pairs = _pairs(row)
    if not pairs:
        return None
    pieces = tuple(
        Piece(trained, tuple(text for text, _ in run))
        for trained, run in groupby(pairs[:MOST_TOKENS], key=lambda pair: pair[1])
    )
    return Row(pieces, len(pairs), sum(trained for _, trained in pairs))


def _pairs(row: Any) -> list[tuple[str, bool]]:
    tokens = row if isinstance(row, list) else []
    told = (token for token in tokens if isinstance(token, Mapping) and "token" in token)
    return [(str(token["token"]), bool(token.get("trained"))) for token in told]


@dataclass(frozen=True)
class Sample:
    """A record that was dropped: where it stood, and how it begins."""

    source: str
    detail: str


@dataclass(frozen=True)
class Dropped:
    reason: str
    count: int
    share: float  # of the records seen
    samples: tuple[Sample, ...]


@dataclass(frozen=True)
class Curation:
    seen: int
    kept: int
    dropped: tuple[Dropped, ...]  # most first
    masked: Mapping[str, int]  # kind of personal data -> records


def curation(result: Mapping[str, Any]) -> Curation | None:
    """The result of import (``rejected`` of ``records``) or curate (``dropped`` of ``input``); None for others."""
    reasons, kept = result.get("dropped", result.get("rejected")), result.get("kept")
    if not isinstance(reasons, Mapping) or not isinstance(kept, int):
        return None
    counts = {str(reason): _count(entry) for reason, entry in reasons.items()}
    given = result.get("input", result.get("records"))
    seen = given if isinstance(given, int) else kept + sum(counts.values())
    dropped = tuple(
        Dropped(reason, count, count / seen if seen else 0.0, _samples(reasons[reason]))
        for reason, count in sorted(counts.items(), key=lambda item: -item[1])
        if count
    )
    return Curation(seen, kept, dropped, _numbers(result.get("masked")))


def _count(entry: Any) -> int:
    count = entry.get("count") if isinstance(entry, Mapping) else entry
    return count if isinstance(count, int) else 0


def _samples(entry: Any) -> tuple[Sample, ...]:
    found = entry.get("examples") if isinstance(entry, Mapping) else None
    told = [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []
    return tuple(Sample(str(one.get("source", "")), str(one.get("detail", ""))) for one in told[:MOST_SAMPLES])


def _numbers(value: Any) -> dict[str, int]:
    if not isinstance(value, Mapping):
        return {}
    return {str(kind): count for kind, count in value.items() if isinstance(count, int) and count}
