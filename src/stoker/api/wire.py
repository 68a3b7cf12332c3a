"""How our dataclasses go over the wire."""

from __future__ import annotations

from typing import Any

from fastapi import Response
from pydantic_core import to_json


class Json(Response):
    """`content` as `typed.read` takes it back. A float that is no number goes as ``"NaN"``."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return to_json(content, inf_nan_mode="strings")
