"""The typed key-value pairs at the head of a GGUF file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from gguf import GGUFReader, GGUFValueType

_ARRAY = GGUFValueType.ARRAY


class Field(NamedTuple):
    """A value with the type it has on disk."""

    value: Any  # int, float, bool, str or a list of one of them
    type: GGUFValueType
    item_type: GGUFValueType | None = None  # of a list


def field(value: Any) -> Field:
    """`value` with the type llama.cpp expects of a value of its kind."""
    if isinstance(value, list):
        return Field(value, _ARRAY, _type_of(value[0]) if value else GGUFValueType.INT32)
    kind = _type_of(value)
    return Field(value, GGUFValueType.UINT32 if kind is GGUFValueType.INT32 else kind)


def fields(values: Mapping[str, Any], prefix: str = "") -> dict[str, Field]:
    return {prefix + key: field(value) for key, value in values.items()}


def read_fields(reader: GGUFReader) -> dict[str, Field]:
    """All pairs of an opened file, those that only describe the file itself (``GGUF.*``) left out."""
    found = {}
    for key, stored in reader.fields.items():
        if key.startswith("GGUF.") or not stored.types:
            continue
        item_type = stored.types[-1] if stored.types[0] is _ARRAY else None
        found[key] = Field(stored.contents(), stored.types[0], item_type)
    return found


def _type_of(value: bool | int | float | str) -> GGUFValueType:
    if isinstance(value, bool):
        return GGUFValueType.BOOL
    if isinstance(value, int):
        return GGUFValueType.INT32
    return GGUFValueType.FLOAT32 if isinstance(value, float) else GGUFValueType.STRING
