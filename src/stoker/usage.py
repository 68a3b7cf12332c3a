"""Usage: what a key has asked of a model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class KeyUsage:
    """Counted since the server started."""

    key: str  # an account's id
    tenant: str
    model: str
    requests: int
    prompt_tokens: int
    completion_tokens: int
