"""The drawing of why a job waits: a time axis of who holds what until when, and each node by what it lacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stoker.explanation import FOR_ROOM, Ending, Explanation, Holder, NodeRefusal, Refusal, Victim
from stoker.explanation_words import (
    cause_in,
    change_in,
    ending_in,
    loss_in,
    option_of,
    refusal_in,
    remedy_in,
    shielded_in,
)

MOST_CELLS = 600  # nodes drawn for one refusal; of more the rest is counted
_TICKS = 4


@dataclass(frozen=True)
class Bar:
    """One holder, from now to its latest end, in percent of the axis."""

    holder: Holder
    width: float  # 100 for one that nobody knows an end of
    open: bool  # its end is not known


@dataclass(frozen=True)
class Axis:
    """From now to the last end that matters."""

    seconds: float
    ticks: tuple[float, ...]  # seconds from now
    at: float | None  # predicted start, in percent
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Row:
    """The nodes that lack one thing."""

    refusal: Refusal
    word: str
    count: int
    cells: tuple[NodeRefusal, ...]
    more: int  # not drawn


@dataclass(frozen=True)
class Step:
    """A change that starts it, now or sooner."""

    text: str
    option: str
    where: str


@dataclass(frozen=True)
class Toll:
    """What starting it by ending others takes: who loses what, or what protects those in its way."""

    head: str
    victims: tuple[tuple[Victim, str], ...]
    shields: tuple[str, ...]


@dataclass(frozen=True)
class Waiting:
    found: Explanation
    cause: str
    remedy: str
    steps: tuple[Step, ...]
    sooner: tuple[Step, ...]  # changes with which it would wait less
    toll: Toll | None
    none_helps: bool  # changes were tried, and none starts it
    axis: Axis
    bars: tuple[Bar, ...]
    rows: tuple[Row, ...]


def waiting(found: Explanation, language: str) -> Waiting:
    axis = _axis(found)
    return Waiting(
        found=found,
        cause=cause_in(language, found.because),
        remedy=remedy_in(language, found.because),
        sooner=tuple(Step(change_in(language, one), option_of(one), "") for one in found.sooner),
        steps=tuple(Step(change_in(language, one), option_of(one), ", ".join(one.where)) for one in found.at_once),
        toll=None if found.ending is None else _toll(found.ending, language),
        none_helps=not found.at_once and found.because.cause in FOR_ROOM,
        axis=axis,
        bars=tuple(_bar(one, found.at, axis.seconds) for one in found.holders),
        rows=tuple(_row(refusal, count, found.nodes, language) for refusal, count in _by_count(found)),
    )


def _toll(ending: Ending, language: str) -> Toll:
    return Toll(
        head=ending_in(language, ending),
        victims=tuple((one, loss_in(language, one)) for one in ending.victims),
        shields=tuple(shielded_in(language, one) for one in ending.shielded),
    )


def _axis(found: Explanation) -> Axis:
    forecast, now = found.forecast, found.at
    ends = [one.until for one in found.holders if one.until is not None]
    ends += [moment for moment in (forecast.at, forecast.high) if moment is not None]
    seconds = max([60.0, *(end - now for end in ends)]) * 1.02

    def share(moment: float | None) -> float | None:
        return None if moment is None else round(min(100.0, max(0.0, 100 * (moment - now) / seconds)), 2)

    ticks = tuple(seconds * part / _TICKS for part in range(_TICKS + 1))
    return Axis(seconds, ticks, share(forecast.at), share(forecast.low), share(forecast.high))


def _bar(holder: Holder, now: float, seconds: float) -> Bar:
    if holder.until is None:
        return Bar(holder, 100.0, open=True)
    return Bar(holder, round(min(100.0, max(0.5, 100 * (holder.until - now) / seconds)), 2), open=False)


def _by_count(found: Explanation) -> list[tuple[Refusal, int]]:
    return sorted(found.refusals.items(), key=lambda item: -item[1])


def _row(refusal: Refusal, count: int, nodes: Sequence[NodeRefusal], language: str) -> Row:
    mine = [one for one in nodes if one.refusal is refusal]
    return Row(refusal, refusal_in(language, refusal), count, tuple(mine[:MOST_CELLS]), max(0, count - MOST_CELLS))
