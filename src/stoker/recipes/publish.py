"""Publish: bring what lies on the platform's machine (data, a base model) to where every node finds it.

Input ``source``, a file or folder; ``content/`` of the output holds its files, but for hidden ones, and what links
lead to.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stoker import probe
from stoker.contents import digest_of, files_of
from stoker.errors import Broken
from stoker.recipes import stage
from stoker.typed import strict

VERSION = 1
CONTENT = "content"


@strict
@dataclass(frozen=True)
class Config:
    """What is expected."""

    digest: str  # of the source when it was asked for


def run(this: stage.Stage[Config]) -> dict[str, Any]:
    """Raises Broken when the source is another by now."""
    source = this.inputs["source"]
    probe.phase("copy", source.name)
    content = this.output / CONTENT
    count = size = 0
    for file in files_of(source):
        name = file.relative_to(source) if source.is_dir() else Path(source.name)
        _lay(file, content / name, link=this.sent)
        count, size = count + 1, size + file.stat().st_size
    if digest_of(content if source.is_dir() else content / source.name) != this.config.digest:
        raise Broken(f"{source} changed since it was asked for; run again once nothing writes to it")
    return {"files": count, "bytes": size}


def _lay(file: Path, target: Path, *, link: bool) -> None:
    """Only named where it is sent on at once; else a further name of the same content where the disk allows it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if link:
        target.symlink_to(file.absolute())
    else:
        try:
            os.link(file.resolve(), target)
        except OSError:
            shutil.copyfile(file, target)


if __name__ == "__main__":
    stage.main(Config, run)
