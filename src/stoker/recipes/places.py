"""Places: where what a spec names lies on this node."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache as once
from pathlib import Path

from stoker.depot import Depot, is_remote, read_credentials
from stoker.errors import Broken
from stoker.recipes import cache

_CREDENTIALS = "storage.env"
_DEEPEST = 3  # an artifact, its folder ``content``, a file in that


def fetch(location: str) -> Path:
    """The path here of what the platform calls `location`: an artifact or a file in one, fetched if need be."""
    if not is_remote(location):
        return Path(here(location))
    place, rest = location, Path()
    for _ in range(_DEEPEST):
        if depot().result(place) is not None:
            return cache.bring(depot(), place) / rest
        place, _, name = place.rpartition("/")
        rest = Path(name) / rest
    raise Broken(f"there is nothing whole at {location}; was it removed?")


@once
def depot() -> Depot:
    """The storage, with the credentials that came along; without any those of this node."""
    file = brought(_CREDENTIALS)
    return Depot(read_credentials(file) if file.is_file() else None)


def here(path: str, environ: Mapping[str, str] = os.environ) -> str:
    """A path of the platform's machine as this node sees it: ``STOKER_PATHS`` has lines of ``/there=/here``.

    The longest folder that fits counts; what is below none of them is the same on both.
    """
    pairs = [line.partition("=")[::2] for line in environ.get("STOKER_PATHS", "").splitlines()]
    for there, mine in sorted(pairs, key=lambda pair: -len(pair[0])):
        folder = there.rstrip("/")
        if path == folder or path.startswith(f"{folder}/"):
            return mine.rstrip("/") + path[len(folder) :]
    return path


def brought(name: str, environ: Mapping[str, str] = os.environ) -> Path:
    """A file that came along with the job, by its bare name; anything else is a path already."""
    folder = environ.get("STOKER_FILES")
    return Path(folder, name) if folder and "/" not in name else Path(name)
