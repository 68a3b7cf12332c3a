"""Places: where what a spec names lies on this node."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def fetch(location: str) -> Path:
    """The path here of what the platform calls `location`."""
    return Path(here(location))


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
