"""Private files of the platform's own jobs, one folder a job: what `Order.files` is made of."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

SPEC, SERVICE_KEY, STORAGE = "spec.json", "service.key", "storage.env"  # what recipes look for


class Attachments:
    """Readable by the platform's user alone."""

    def __init__(self, folder: Path, always: Mapping[str, Path] | None = None) -> None:
        """`always`: files that every job takes along, by name."""
        self._folder = folder
        self._always = always or {}

    def lay(self, occasion: str, files: Mapping[str, str | Path]) -> str:
        """Lay files down for the job of `occasion`; the name of the set. A path is a file that lives elsewhere."""
        name = hashlib.sha256(occasion.encode()).hexdigest()[:16]
        folder = self._folder / name
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for file, content in {**self._always, **files}.items():
            partial = folder / f".{file}.part"
            partial.unlink(missing_ok=True)
            if isinstance(content, Path):
                partial.symlink_to(content)
            else:
                partial.touch(mode=0o600)
                partial.write_text(content)
            partial.replace(folder / file)
        return name

    def files(self, name: str) -> Mapping[str, Path]:
        """By name; empty when nothing was laid down."""
        try:
            return {file.name: file for file in (self._folder / name).iterdir() if not file.name.startswith(".")}
        except FileNotFoundError:
            return {}

    def sweep(self, kept: Callable[[], Iterable[str]]) -> None:
        """Remove all but those `kept`; nobody is asked where there is nothing."""
        found = list(self._folder.glob("*"))
        names = set(kept()) if found else set()
        for entry in found:
            if entry.name not in names:
                shutil.rmtree(entry, ignore_errors=True)
