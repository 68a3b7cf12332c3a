"""Turn outside data into our dataclasses, strictly: unknown and ill-typed fields are named, never ignored."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from stoker.errors import BadInput, near

T = TypeVar("T")


_adapters: dict[type[Any], TypeAdapter[Any]] = {}  # building one costs a millisecond; there are few types


def _adapter(kind: type[T]) -> TypeAdapter[T]:
    adapter = _adapters.get(kind)
    if adapter is None:
        adapter = _adapters[kind] = TypeAdapter(kind)
    return adapter


def strict(cls: type[T]) -> type[T]:
    """Class decorator: a dataclass read through `read` refuses fields it does not know."""
    cls.__pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[attr-defined]
    return cls


def read(kind: type[T], data: Any, *, what: str = "input") -> T:
    """`data` (from JSON, YAML or a form) as a `kind`; raises BadInput naming the first wrong field."""
    try:
        return _adapter(kind).validate_python(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or what
        hint = _near_field(kind, where) if first["type"].startswith("unexpected") else ""
        raise BadInput(f"{what}: {where}: {in_words(first)}{hint}", param=where) from None


def dump(value: Any) -> Any:
    """The JSON-ready form of one of our dataclasses; `read` takes it back."""
    return _adapter(type(value)).dump_python(value, mode="json")


def in_words(problem: Mapping[str, Any]) -> str:
    """What is wrong with one field, for somebody who does not know Pydantic; `problem` is one of its errors."""
    if problem["type"] in _WORDS:
        return _WORDS[problem["type"]]
    text = str(problem["msg"]).removeprefix("Value error, ").partition(", unable to")[0]
    return re.sub(r"^(Input|Value|String) should ", "must ", text)


_WORDS = {
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "mapping_type": "must be an object",
    "dataclass_type": "must be an object",
    "missing": "is missing",
    "unexpected_keyword_argument": "there is no such field",
    "string_pattern_mismatch": "holds what is not allowed there, such as a slash, a quote or a control character",
}


def _near_field(kind: type[Any], given: str) -> str:
    known = [field.name for field in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else []
    return near(given, known)
