"""Fields of requests that several routes take, with their bounds."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query

_TEXT = r"^[^\x00]*$"

JobId = Annotated[int, Path(ge=1, le=2**63 - 1)]
Name = Annotated[str, Path(min_length=1, max_length=200, pattern=_TEXT)]
Text = Annotated[str, Query(max_length=200, pattern=_TEXT)]
Limit = Annotated[int, Query(ge=1, le=1000)]
Before = Annotated[int | None, Query(ge=1, le=2**63 - 1, description="the page's last id, from `next`")]
