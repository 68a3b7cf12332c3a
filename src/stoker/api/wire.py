"""How our dataclasses go over the wire: JSON bodies, and lists in pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from fastapi import Response
from pydantic_core import to_json

T = TypeVar("T")


@dataclass(frozen=True)
class Page(Generic[T]):
    """A list, and where its next page starts (null when this was the last)."""

    items: tuple[T, ...]
    next: int | None = None


class Json(Response):
    """`content` as `typed.read` takes it back. A float that is no number goes as ``"NaN"``."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return to_json(content, inf_nan_mode="strings")
