"""How numbers, sizes and times read on a page; every one with its unit, in the page's language."""

from __future__ import annotations

import datetime as dt
import math

from stoker import units


def duration(seconds: float | None, language: str) -> str:
    """``5 min 3 s``, ``5 分 3 秒``; a dash for None."""
    return "–" if seconds is None else units.duration_in(language, seconds)


def number(value: float | None) -> str:
    """Four significant digits, thousands apart: ``9,840``, ``1.213``, ``0.0003``, ``2e-05``."""
    if value is None:
        return "–"
    if not math.isfinite(value):
        return {math.inf: "∞", -math.inf: "-∞"}.get(value, "NaN")
    if value == 0 or (float(value).is_integer() and abs(value) < 1e15):
        return f"{value:,.0f}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) < 1e-4:
        return f"{value:.2g}"
    return f"{value:.4g}"


def percent(share: float | None) -> str:
    """``87 %`` of a share 0 to 1; one decimal below 10 %."""
    if share is None:
        return "–"
    return f"{share * 100:.1f} %" if 0 < share < 0.1 else f"{share * 100:.0f} %"


def quantity(value: float | int | str | None, unit: str) -> str:
    """A value with its unit; bytes and shares in the form people read."""
    if value is None or isinstance(value, str):
        return value or "–"
    if unit == "B":
        return units.format_bytes(value)
    if unit == "share":
        return f"{number(value * 100 if abs(value) < 1e-3 else round(value * 100, 1))} %"
    return f"{number(value)} {unit}".rstrip()


def part_of(used: float, total: float) -> str:
    """`used` bytes as a bare number in the unit that `total` is written in: ``5.0`` of ``23.5 GiB``."""
    number_, unit = units.format_bytes(total).split()
    scale = total / float(number_) if total else 1
    return f"{used / scale:.0f}" if unit == "B" else f"{used / scale:.1f}"


def moment(at: float | None) -> str:
    """``2026-11-21 14:03 UTC``; the page's script turns it into the reader's time zone."""
    if at is None:
        return "–"
    return dt.datetime.fromtimestamp(at, dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
