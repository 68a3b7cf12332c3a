"""File: data somebody uploaded, named by its id wherever data is asked for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class File:
    id: str  # "file-..."
    name: str  # as the uploader called it: a label, never a path
    purpose: str  # "fine-tune" and the like
    size: int  # bytes
    sha256: str
    tenant: str
    owner: str
    created_at: float
