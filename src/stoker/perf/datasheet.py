"""Data sheets: numbers with unit, source and date, read strictly from the TOML files in perf/catalogue.

    [sources.nvidia-h100]
    title = "NVIDIA H100 data sheet"
    read = "2026-11"                  # when the number was taken from there

    ["H100-SXM5-80GB"]
    vendor = "NVIDIA"
    memory = {value = 80, unit = "GiB", kind = "datasheet", source = "nvidia-h100"}

A number nobody states is left out, never guessed. Values are kept in base units: bytes, bytes/s, FLOP/s, W, s, Hz.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal, TypeVar

from stoker.errors import BadInput, NotFound, near
from stoker.typed import read, strict

T = TypeVar("T")
Kind = Literal["datasheet", "measured", "derived", "reported"]  # reported: by the press or others, not the maker

UNITS: Mapping[str, float] = {
    "": 1.0,
    "GB": 1e9, "TB": 1e12, "GiB": 2.0**30, "MiB": 2.0**20, "B": 1.0,
    "GB/s": 1e9, "TB/s": 1e12, "Gb/s": 1e9 / 8, "Tb/s": 1e12 / 8,
    "TFLOP/s": 1e12, "TOP/s": 1e12, "GFLOP/s": 1e9,
    "W": 1.0, "kW": 1e3, "us": 1e-6, "ms": 1e-3, "ns": 1e-9, "s": 1.0, "GHz": 1e9, "m": 1.0, "h": 3600.0,
}  # fmt: skip


@strict
@dataclass(frozen=True)
class Source:
    """Where numbers come from."""

    title: str
    read: str  # when it was read: YYYY-MM


@dataclass(frozen=True)
class Quantity:
    """One number of a data sheet; ``float(quantity)`` is it in base units."""

    value: float  # as written, in `unit`
    unit: str
    kind: Kind
    source: Source
    note: str = ""

    def __float__(self) -> float:
        return self.value * UNITS[self.unit]

    def __str__(self) -> str:
        """``989 TFLOP/s (datasheet: NVIDIA H100 data sheet, 2026-11)``"""
        note = f"; {self.note}" if self.note else ""
        number = f"{self.value:,.6g} {self.unit}".rstrip()
        return f"{number} ({self.kind}: {self.source.title}, {self.source.read}{note})"


@dataclass(frozen=True)
class Sheet:
    """One entry of a file: its plain fields, and its quantities by (dotted) name."""

    name: str
    plain: Mapping[str, Any]
    quantities: Mapping[str, Quantity]

    def group(self, prefix: str) -> dict[str, Quantity]:
        """Quantities below `prefix`, by the rest of their name: ``peak`` gives bf16, fp8, ..."""
        start = f"{prefix}."
        return {
            name.removeprefix(start): value for name, value in self.quantities.items() if name.startswith(start)
        }


@cache
def sheets(file: str) -> Mapping[str, Sheet]:
    """Entries of ``perf/catalogue/FILE.toml``. Raises BadInput naming what is wrong in the file."""
    content = tomllib.loads(files("stoker.perf").joinpath("catalogue", f"{file}.toml").read_text("utf-8"))
    return parse(content, what=f"{file}.toml")


def parse(content: Mapping[str, Any], *, what: str) -> dict[str, Sheet]:
    """The entries in `content`, as read from TOML: a user's own file may be read by this, too."""
    sources = {
        name: read(Source, dict(entry), what=f"{what}: sources.{name}")
        for name, entry in content.get("sources", {}).items()
    }
    return {
        name: _sheet(name, entry, sources, f"{what}: {name}")
        for name, entry in content.items()
        if name != "sources"
    }


def find(file: str, name: str, kind: str) -> Sheet:
    """The entry called `name`, or that has it among its ``aliases``. Raises NotFound with near names."""
    known = sheets(file)
    wanted = plain_name(name)
    for sheet in known.values():
        if wanted in map(plain_name, (sheet.name, *sheet.plain.get("aliases", ()))):
            return sheet
    raise NotFound(f'no {kind} "{name}" in the catalogue{near_sheets(name, known)}')


def plain_name(name: str) -> str:
    """Names are the same whatever their case and punctuation: ``h100_80gb`` is ``H100-80GB``."""
    return "".join(char for char in name.casefold() if char.isalnum())


def near_sheets(name: str, known: Mapping[str, Sheet]) -> str:
    spelled = {plain_name(alias): sheet.name for sheet in known.values() for alias in _names(sheet)}
    found = near(plain_name(name), spelled)
    if not found.startswith("; near"):
        return f"; there are: {', '.join(known)}"
    close = found.removeprefix("; near names: ").split(", ")
    return f"; near names: {', '.join(dict.fromkeys(spelled[item] for item in close))}"


def _names(sheet: Sheet) -> Iterable[str]:
    return (sheet.name, *sheet.plain.get("aliases", ()))


def _sheet(name: str, entry: Mapping[str, Any], sources: Mapping[str, Source], what: str) -> Sheet:
    plain: dict[str, Any] = {}
    quantities: dict[str, Quantity] = {}
    for field, value in entry.items():
        if not isinstance(value, Mapping):
            plain[field] = value
        elif "value" in value:
            quantities[field] = _quantity(value, sources, f"{what}.{field}")
        else:
            for key, inner in value.items():
                quantities[f"{field}.{key}"] = _quantity(inner, sources, f"{what}.{field}.{key}")
    return Sheet(name, plain, quantities)


_FIELDS = {"value", "unit", "kind", "source", "note"}
_KINDS = ("datasheet", "measured", "derived", "reported")


def _quantity(entry: Any, sources: Mapping[str, Source], what: str) -> Quantity:
    if not isinstance(entry, Mapping) or not _FIELDS - {"note"} <= set(entry) <= _FIELDS:
        raise BadInput(f"{what}: a number is given as {{value, unit, kind, source}} and an optional note")
    value, unit, kind = entry["value"], entry["unit"], entry["kind"]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
        raise BadInput(f"{what}: value must be a number above 0; leave out what is not known")
    if unit not in UNITS:
        raise BadInput(f'{what}: unit "{unit}" is unknown{near(str(unit), UNITS)}')
    if kind not in _KINDS:
        raise BadInput(f'{what}: kind "{kind}" was given; allowed are {", ".join(_KINDS)}')
    if entry["source"] not in sources:
        raise BadInput(
            f'{what}: source "{entry["source"]}" is not in [sources]{near(str(entry["source"]), sources)}'
        )
    return Quantity(float(value), unit, kind, sources[entry["source"]], entry.get("note", ""))
