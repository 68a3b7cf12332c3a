"""Survivors: cleaned records on disk and their keys, while it is not yet known which are duplicates.

In memory are 25 bytes a record; lines and bands lie in scratch files (8 bytes a band).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stoker.recipes.curation.cleaning import Cleaned
from stoker.recipes.curation.dedup import Bands
from stoker.recipes.curation.words import Hashes


@dataclass(frozen=True)
class Keys:
    """Of n records in order: shapes (n,), (n,), (n, bands), (n,)."""

    exact: Hashes
    prompts: Hashes
    bands: Bands  # mapped from disk
    heldout: NDArray[np.bool_]


class Survivors:
    def __init__(self, scratch: Path) -> None:
        self._paths = (scratch / "survivors.jsonl", scratch / "bands.u64")
        self._lines, self._bands = (path.open("w+b") for path in self._paths)
        self._width = 0  # bands of a record
        self._parts: list[Cleaned] = []
        self._sizes: list[NDArray[np.int64]] = []  # of lines, bytes

    def __enter__(self) -> Survivors:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        for file, path in zip((self._lines, self._bands), self._paths, strict=True):
            file.close()
            path.unlink()

    def __len__(self) -> int:
        return sum(len(part.exact) for part in self._parts)

    def add(self, cleaned: Cleaned) -> None:
        self._sizes.append(np.array([len(line) for line in cleaned.lines], np.int64))
        self._lines.writelines(cleaned.lines)
        self._bands.write(cleaned.bands.tobytes())
        self._width = self._width or cleaned.bands.shape[1]
        self._parts.append(Cleaned(exact=cleaned.exact, prompts=cleaned.prompts, heldout=cleaned.heldout))

    def keys(self) -> Keys:
        self._bands.flush()
        shape = (len(self), self._width)
        empty = np.zeros(shape, np.uint64)
        return Keys(
            exact=np.concatenate([part.exact for part in self._parts] or [empty[:, 0]]),
            prompts=np.concatenate([part.prompts for part in self._parts] or [empty[:, 0]]),
            bands=np.memmap(self._bands, np.uint64, "r", shape=shape) if empty.size else empty,
            heldout=np.concatenate([part.heldout for part in self._parts]),
        )

    def sources(self, places: Iterable[int]) -> dict[int, str]:
        """Where the records at `places` come from."""
        starts = np.cumsum(np.concatenate([np.zeros(1, np.int64), *self._sizes]))
        found: dict[int, str] = {}
        for place in places:
            self._lines.seek(starts[place])
            found[place] = json.loads(self._lines.readline())["source"]
        return found

    def records(self) -> Iterator[dict[str, Any]]:
        """All records as ``{"id", "messages" or "text", "source"}``, in order."""
        self._lines.seek(0)
        for line in self._lines:
            yield json.loads(line)
