"""Kubernetes' quantities: ``100m``, ``2``, ``16Gi``, ``1e3``."""

from __future__ import annotations

import re

_FORM = re.compile(r"^([+-]?[\d.]+(?:[eE][+-]?\d+)?)([numkMGTPE]?i?)$")
_SCALE = {
    "": 1.0, "n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18,
    "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50, "Ei": 2.0**60,
}  # fmt: skip


def quantity(text: str | float) -> float:
    """The number; 0 for what is none: the API server has checked it already."""
    match = _FORM.match(str(text))
    return float(match[1]) * _SCALE.get(match[2], 1.0) if match else 0.0
