"""Telemetry: what a job told of itself through the probe, put in order."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from stoker.expectation import Expectation
from stoker.signal import Sample, Signal

# The unit is the tail of the name, as in tokens_per_s; names without one are bare numbers.
_UNITS = {"_per_s": "/s", "_s": "s", "_bytes": "B", "_percent": "%", "mfu": "share"}


@dataclass(frozen=True)
class Phase:
    at: float
    name: str
    text: str = ""


@dataclass(frozen=True)
class Telemetry:
    step: int | None = None
    total: int | None = None
    values: Mapping[str, float | int | str] = field(default_factory=dict)  # the latest of each
    signals: Mapping[str, Signal] = field(default_factory=dict)
    expectations: Mapping[str, Expectation] = field(default_factory=dict)
    phases: tuple[Phase, ...] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)
    ready_url: str = ""
    error: str = ""
    end: str = ""  # why it ended well

    @property
    def share_done(self) -> float | None:
        """0 to 1, None when the job has not said."""
        if self.step is None or not self.total:
            return None
        return min(1.0, self.step / self.total)


def read_telemetry(lines: Iterable[bytes], subject: str) -> Telemetry:
    """Telemetry of the probe's JSON `lines`; a torn or foreign line is passed over, the file is the user's."""
    step = total = None
    values: dict[str, float | int | str] = {}
    series: dict[str, list[Sample]] = {}
    expectations: dict[str, Expectation] = {}
    phases: list[Phase] = []
    notes: dict[str, Any] = {}
    ready_url = error = end = ""
    for event in _events(lines):
        kind, at = event.get("kind"), _number(event.get("at")) or 0.0
        if kind == "progress":
            here = _whole(event.get("step"))
            step = step if here is None else here
            total = _whole(event.get("total")) or total
            for name, value in _mapping(event.get("values")).items():
                if isinstance(value, str):
                    values[name] = value
                elif (number := _number(value)) is not None:
                    values[name] = value
                    series.setdefault(name, []).append(Sample(at, number, here))
        elif kind == "expect":
            expectation = _expectation(event)
            if expectation:
                expectations[expectation.name] = expectation
        elif kind == "phase":
            phases.append(Phase(at, str(event.get("name")), str(event.get("text") or "")))
        elif kind == "note":
            notes[str(event.get("name"))] = event.get("data")
        elif kind == "ready":
            ready_url = str(event.get("url") or "")
        elif kind == "error":
            error = str(event.get("message") or "")
        elif kind == "end":
            end = str(event.get("message") or "")
    signals = {name: Signal(name, _unit(name), subject, tuple(samples)) for name, samples in series.items()}
    return Telemetry(step, total, values, signals, expectations, tuple(phases), notes, ready_url, error, end)


def _events(lines: Iterable[bytes]) -> Iterable[dict[str, Any]]:
    for line in lines:
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(event, dict):
            yield event


def _expectation(event: Mapping[str, Any]) -> Expectation | None:
    try:
        return Expectation(
            name=str(event["name"]),
            value=float(event["value"]),
            low=float(event["low"]),
            high=float(event["high"]),
            unit=str(event["unit"]),
            basis=str(event["basis"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def _number(value: object) -> float | None:
    try:
        return float(value) if isinstance(value, (int, float)) else None
    except OverflowError:
        return None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _unit(name: str) -> str:
    return next((unit for tail, unit in _UNITS.items() if name.endswith(tail)), "")
