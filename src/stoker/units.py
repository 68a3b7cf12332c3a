"""Quantities with units: reading what people write, writing what people read.

Bytes are int, durations are float seconds. Slurm's and Kubernetes' spellings are both understood.
"""

from __future__ import annotations

import re

from stoker.errors import BadInput

_BINARY = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40, "P": 1 << 50}
_DECIMAL = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15}
_SIZE = re.compile(r"^\s*(\d{1,15}(?:\.\d{1,15})?)\s*([KMGTP]?)(i?)(B?)\s*$", re.IGNORECASE | re.ASCII)
_SUFFIX_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SUFFIXED = re.compile(r"^(?:(\d{1,9}(?:\.\d{1,9})?)([smhd]))+$", re.ASCII)
_NUMBER = re.compile(r"^\d{1,9}$", re.ASCII)  # longer ones are no durations, and overflow


def parse_bytes(text: str | int, *, default_unit: str = "") -> int:
    """Bytes of ``16Gi``, ``16GiB``, ``16G``, ``500MB`` (decimal) or a bare number in `default_unit`.

    ``G`` alone is binary, as in Slurm and SkyPilot; ``GB`` is decimal, as on data sheets.
    """
    if isinstance(text, int):
        return text * _BINARY[default_unit]
    match = _SIZE.match(text)
    if not match:
        raise BadInput(f'"{text}" is no size; write for example 16Gi, 16G or 500MB')
    number, prefix, binary, byte = match.groups()
    scale = _DECIMAL if byte and not binary else _BINARY
    return int(float(number) * scale[prefix.upper() or default_unit])


def parse_duration(text: str | float) -> float:
    """Seconds of ``90s``, ``1h30m``, or Slurm's ``M``, ``M:S``, ``H:M:S``, ``D-H``, ``D-H:M``, ``D-H:M:S``.

    A bare string number is minutes, as in ``sbatch -t``; an int or float is seconds.
    """
    if isinstance(text, (int, float)):
        return float(text)
    spelled = text.strip().lower()
    if _SUFFIXED.match(spelled):
        parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", spelled)
        return float(sum(float(number) * _SUFFIX_SECONDS[unit] for number, unit in parts))
    days, dash, clock = spelled.rpartition("-")
    fields = clock.split(":")
    numeric = [*fields, days] if dash else fields
    if not all(map(_NUMBER.match, numeric)) or len(fields) > 3:
        raise BadInput(f'"{text}" is no duration; write for example 90s, 1h30m, 02:00:00 or 1-12')
    numbers = [int(field) for field in fields]
    if dash:
        hours, minutes, seconds = (*numbers, 0, 0)[:3]
    elif len(numbers) == 3:
        hours, minutes, seconds = numbers
    else:
        hours, (minutes, seconds) = 0, (*numbers, 0)[:2]
    return float(((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds)


_LATENCY = re.compile(r"^\s*(\d{1,9}(?:\.\d{1,9})?)\s*(us|ms|s)\s*$", re.ASCII)


def parse_latency(text: str) -> float:
    """Seconds of ``50ms``, ``1.5s`` or ``300us``; a bare number is ambiguous here and refused."""
    match = _LATENCY.match(text)
    if not match:
        raise BadInput(f'"{text}" is no latency; write for example 50ms or 1.5s')
    return float(match[1]) * {"us": 1e-6, "ms": 1e-3, "s": 1.0}[match[2]]


def format_bytes(count: float) -> str:
    """``1.5 GiB``"""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(count) < 1024 or unit == "TiB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError


def format_duration(seconds: float) -> str:
    """``850 ms``, ``42 s``, ``5 min 3 s``, ``2 h 10 min``, ``3 d 4 h``"""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    for big, small, size, names in ((60, 1, 3600, "min s"), (3600, 60, 86400, "h min")):
        if whole < size:
            first, second = names.split()
            rest = whole % big // small
            return f"{whole // big} {first}" + (f" {rest} {second}" if rest else "")
    rest = whole % 86400 // 3600
    return f"{whole // 86400} d" + (f" {rest} h" if rest else "")


_TIME_WORDS = {"zh": {"ms": "毫秒", "s": "秒", "min": "分", "h": "小时", "d": "天"}}
_TIME_UNIT = re.compile(r"\b(ms|s|min|h|d)\b")


def duration_in(language: str, seconds: float) -> str:
    """`format_duration` in the words of `language`: ``5 分 3 秒``."""
    text = format_duration(max(0.0, seconds))
    words = _TIME_WORDS.get(language)
    return _TIME_UNIT.sub(lambda match: words[match[1]], text) if words else text


def format_clock(seconds: float) -> str:
    """Elapsed time as squeue prints it: ``5:03``, ``2:10:00``, ``3-04:00:00``."""
    whole = int(seconds)
    days, rest = divmod(whole, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, secs = divmod(rest, 60)
    if days:
        return f"{days}-{hours:02}:{minutes:02}:{secs:02}"
    return f"{hours}:{minutes:02}:{secs:02}" if hours else f"{minutes}:{secs:02}"
