"""Bandwidths as people write them. Bits and bytes differ by eight: the unusual one is asked about, not guessed."""

from __future__ import annotations

import re

from stoker.errors import BadInput

_RATE = re.compile(r"^\s*(\d{1,12}(?:\.\d{1,12})?)\s*([KMGT]?)(i?)(b|B|bit|bits|bytes?)(?:/s|ps)\s*$", re.ASCII)
_PREFIX = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}


def rate(text: str | float, where: str) -> float:
    """Bytes/s of ``600GB/s``. Raises BadInput when there is no unit, or when it is one of bits."""
    number, prefix, bits = _parts(text, where, "600GB/s")
    if bits:
        raise BadInput(
            f"{where}: {text} is {number * _PREFIX[prefix] / 8e9:g} GB/s, and bytes are usual here; "
            f"write {number:g}{prefix}B/s if bytes were meant, else {number / 8:g}{prefix}B/s",
            param=_param(where),
        )
    return number * _PREFIX[prefix]


def port_rate(text: str | float, where: str) -> float:
    """Bytes/s of a network port given as ``400Gb/s``, as makers of ports do. Raises BadInput for bytes."""
    number, prefix, bits = _parts(text, where, "400Gb/s")
    if not bits:
        raise BadInput(
            f"{where}: {text} is {number * _PREFIX[prefix] * 8 / 1e9:g} Gb/s, and bits are usual for ports; "
            f"write {number:g}{prefix}b/s if bits were meant, else {number * 8:g}{prefix}b/s",
            param=_param(where),
        )
    return number * _PREFIX[prefix] / 8


def _parts(text: str | float, where: str, example: str) -> tuple[float, str, bool]:
    match = _RATE.match(text) if isinstance(text, str) else None
    if match is None or float(match[1]) <= 0:
        raise BadInput(
            f"{where}: {text} was given; write a number above 0 with its unit, as {example}", param=_param(where)
        )
    number, prefix, binary, unit = match.groups()
    scale = 1.024 ** ("KMGT".find(prefix) + 1) if binary else 1.0
    return float(number) * scale, prefix, unit in ("b", "bit", "bits")


def _param(where: str) -> str:
    return where.rpartition(": ")[2]
