"""The endpoint section of a file: how many replicas serve a model, as people write it in YAML.

    endpoint: {min: 0, max: 4, target: 16, ttft: 2s, reserve: 1, idle: 15m, queue: serving}

The fields are those of ``stoker endpoints deploy``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from stoker.endpoint import EndpointSettings, Scaling
from stoker.errors import BadInput
from stoker.units import parse_latency
from stoker.yamltext import count, duration, load, plain, reading, rename

# SkyPilot's words for a field -> ours.
ALIASES = {"min_replicas": "min", "max_replicas": "max"}
SECTION = "endpoint"


def read_endpoint_file(text: str, *, source: str) -> EndpointSettings:
    """The endpoint section of the YAML `text`, whatever else stands there.

    Raises BadInput, which begins with `source`.
    """
    with reading(text, source):
        data = load(text, "the file", "endpoint: {min: 1, max: 4}")
        if SECTION not in data:
            raise BadInput("there is no endpoint section; write for example endpoint: {min: 1, max: 4}")
        return read_endpoint(data[SECTION])


def read_endpoint(section: Any) -> EndpointSettings:
    """Raises BadInput naming the field."""
    if not isinstance(section, dict):
        raise BadInput("endpoint is a mapping; write for example endpoint: {min: 1, max: 4}", param=SECTION)
    fields = rename(section, ALIASES, FIELDS, "field in endpoint")
    values = {name: _FIELDS[name](name, value) for name, value in fields.items() if name in _FIELDS}
    scaling = bounded(Scaling(), values.pop("replicas", None), values.pop("min", None), values.pop("max", None))
    return EndpointSettings(replace(scaling, **values), plain("queue", fields.get("queue", "")))


def spelled(settings: EndpointSettings) -> dict[str, str]:
    """The section that says `settings`: what `read_endpoint` reads, with every field."""
    scaling = settings.scaling
    return {
        "min": str(scaling.floor),
        "max": str(scaling.ceiling),
        "target": _digits(scaling.target),
        "ttft": "" if scaling.ttft is None else _spelled_latency(scaling.ttft),
        "tpot": "" if scaling.tpot is None else _spelled_latency(scaling.tpot),
        "reserve": str(scaling.reserve),
        "window": _spelled_duration(scaling.window),
        "idle": _spelled_duration(scaling.idle),
        "hold": _spelled_duration(scaling.hold),
        "sleep": str(scaling.sleep),
        "queue": settings.queue,
    }


def _digits(number: float) -> str:
    return f"{number:.6f}".rstrip("0").rstrip(".")


def _spelled_duration(seconds: float) -> str:
    for unit, size in (("h", 3600), ("m", 60)):
        if seconds and seconds % size == 0:
            return f"{_digits(seconds / size)}{unit}"
    return f"{_digits(seconds)}s"


def _spelled_latency(seconds: float) -> str:
    return f"{_digits(seconds)}s" if seconds >= 1 else f"{_digits(1000 * seconds)}ms"


def bounded(
    scaling: Scaling, replicas: int | tuple[int, int] | None, least: int | None, most: int | None
) -> Scaling:
    """`scaling` between other bounds: so many replicas whatever the load, or at least and at most so many.

    Of `least` and `most` one may be missing: the other bound stays where it can. Raises BadInput.
    """
    if replicas is not None and (least is not None or most is not None):
        raise BadInput("replicas and min or max were given; give replicas for a fixed number, else min and max")
    if replicas is not None:
        least, most = replicas if isinstance(replicas, tuple) else (replicas, replicas)
    floor = least if least is not None else min(scaling.floor, most or scaling.floor)
    ceiling = most if most is not None else max(scaling.ceiling, floor)
    return replace(scaling, floor=floor, ceiling=ceiling)


def _replicas(name: str, value: Any) -> int | tuple[int, int]:
    """``2``, or dstack's ``1..4``."""
    least, dots, most = plain(name, value).partition("..")
    return (count(name, least), count(name, most)) if dots else count(name, least)


def _number(name: str, value: Any) -> float:
    try:
        return float(plain(name, value))
    except ValueError:
        raise BadInput(f'{name}: "{value}" was given; a number is allowed', param=name) from None


def _latency(name: str, value: Any) -> float:
    try:
        return parse_latency(plain(name, value))
    except BadInput as error:
        raise BadInput(f"{name}: {error}", param=name) from None


_FIELDS: Mapping[str, Callable[[str, Any], Any]] = {
    "replicas": _replicas,
    "min": count,
    "max": count,
    "target": _number,
    "ttft": _latency,
    "tpot": _latency,
    "reserve": count,
    "window": duration,
    "idle": duration,
    "hold": duration,
    "sleep": count,
}
FIELDS = (*_FIELDS, "queue")
