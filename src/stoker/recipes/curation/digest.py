"""The digest of a dataset: a sum over its records, so neither order nor file names change it."""

from __future__ import annotations

import hashlib

_MODULUS = 1 << 256


class DatasetDigest:
    """Adds SHA-256 of split and content modulo 2**256 (AdHash, Bellare and Micciancio 1997).

    Equal for equal multisets of (split, content). It names a dataset; it does not guard against someone
    who constructs collisions on purpose.
    """

    def __init__(self) -> None:
        self._sum = 0

    def add(self, split: str, content: bytes) -> None:
        one = hashlib.sha256(split.encode() + b"\0" + content).digest()
        self._sum = (self._sum + int.from_bytes(one, "big")) % _MODULUS

    @property
    def value(self) -> str:
        return f"sha256-sum:{self._sum:064x}"
