"""Window: a span of the week in which a queue has other numbers, as "Mon-Fri 20:00-08:00"."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from stoker.errors import BadInput
from stoker.typed import strict

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WHEN = re.compile(r"^\s*(?:(?P<days>[A-Za-z,\- ]+?)\s+)?(?P<start>\d\d?:\d\d)\s*-\s*(?P<end>\d\d?:\d\d)\s*$")
_DAY_MINUTES = 24 * 60
_HORIZON_DAYS = 9  # a week and what an odd day of a changed clock may shift


@dataclass(frozen=True)
class Span:
    days: frozenset[int]  # on which it begins; Monday is 0
    start: int  # minutes after midnight
    minutes: int  # how long it lasts; it may go past midnight


@strict
@dataclass(frozen=True)
class Window:
    """Numbers that hold in it; None and empty: as outside."""

    when: str
    deserved: float | None = None
    deserved_of: Mapping[str, float] = field(default_factory=dict)
    weight: float | None = None
    ceiling: float | None = None
    ceiling_of: Mapping[str, float] = field(default_factory=dict)
    user_devices: float | None = None
    user_jobs: int | None = None

    def numbers(self) -> dict[str, Any]:
        """Those fields of the queue that it changes."""
        names = ("deserved", "deserved_of", "weight", "ceiling", "ceiling_of", "user_devices", "user_jobs")
        return {name: value for name in names if (value := getattr(self, name)) not in (None, {})}

    def holds(self, now: float, timezone: str) -> bool:
        """Whether `now`, seconds since the epoch, lies in it."""
        span, local = parse_when(self.when), datetime.fromtimestamp(now, ZoneInfo(timezone))
        minute = local.hour * 60 + local.minute
        return (local.weekday() in span.days and span.start <= minute < span.start + span.minutes) or (
            (local.weekday() - 1) % 7 in span.days and minute + _DAY_MINUTES < span.start + span.minutes
        )

    def next_edge(self, now: float, timezone: str) -> float:
        """The next moment after `now` at which it begins or ends."""
        span, zone = parse_when(self.when), ZoneInfo(timezone)
        today = datetime.fromtimestamp(now, zone).replace(hour=0, minute=0, second=0, microsecond=0)
        edges = (
            (today + timedelta(days=day, minutes=minute)).timestamp()
            for day in range(-1, _HORIZON_DAYS)
            if (today + timedelta(days=day)).weekday() in span.days
            for minute in (span.start, span.start + span.minutes)
        )
        return min((edge for edge in edges if edge > now), default=math.inf)


@lru_cache(maxsize=1024)
def parse_when(text: str) -> Span:
    """``Mon-Fri 20:00-08:00``, ``Sat,Sun 00:00-24:00``, ``20:00-08:00``; raises BadInput."""
    match = _WHEN.match(text)
    if not match:
        raise _wrong(text)
    start, end = (_minutes(match[part], text) for part in ("start", "end"))
    if start in (end, _DAY_MINUTES):
        raise _wrong(text)
    return Span(_days(match["days"] or "", text), start, (end - start) % _DAY_MINUTES or _DAY_MINUTES)


def _minutes(clock: str, text: str) -> int:
    hours, minutes = map(int, clock.split(":"))
    if minutes > 59 or hours * 60 + minutes > _DAY_MINUTES:
        raise _wrong(text)
    return hours * 60 + minutes


def _days(given: str, text: str) -> frozenset[int]:
    if not given.strip():
        return frozenset(range(7))
    found: set[int] = set()
    for part in given.split(","):
        first, dash, last = (word.strip().lower()[:3] for word in part.partition("-"))
        if first not in _DAYS or (dash and last not in _DAYS):
            raise _wrong(text)
        start, end = _DAYS.index(first), _DAYS.index(last) if dash else _DAYS.index(first)
        found |= {day % 7 for day in range(start, end + 1 if end >= start else end + 8)}
    return frozenset(found)


def _wrong(text: str) -> BadInput:
    return BadInput(f'window "{text}" was given; write for example Mon-Fri 20:00-08:00', param="windows")
