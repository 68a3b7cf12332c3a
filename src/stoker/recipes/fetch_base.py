"""Fetch: a base model from the site's hub or mirror (``HF_ENDPOINT``), as a folder like any other.

A token, where the hub wants one, is read by huggingface_hub from its own file (``hf auth login`` as the user the
platform runs as): it is in no spec and on no command line.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stoker import probe
from stoker.errors import Away, BadInput, NotFound
from stoker.recipes import stage
from stoker.typed import strict

VERSION = 1
# Weights in other formats beside safetensors double the download and are never loaded.
_WANTED = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja", "LICENSE*", "README.md")


@strict
@dataclass(frozen=True)
class Config:
    model: str  # OWNER/NAME, or OWNER/NAME@REVISION
    workers: int = 4  # files fetched at the same time


def run(stage: stage.Stage[Config]) -> dict[str, Any]:
    """Raises NotFound for an unknown model, BadInput for one without safetensors, Away for a mute hub."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    name, _, revision = stage.config.model.partition("@")
    probe.phase("fetch", stage.config.model)
    started = time.monotonic()
    partial = stage.scratch / "model"  # a fetch that was cut off goes on where it stopped
    try:
        snapshot_download(
            name,
            revision=revision or None,
            local_dir=partial,
            allow_patterns=list(_WANTED),
            max_workers=stage.config.workers,
        )
    except RepositoryNotFoundError:
        raise NotFound(f"the hub has no model {name}, or does not show it to us") from None
    except (HfHubHTTPError, LocalEntryNotFoundError) as error:
        raise Away(f"cannot fetch {stage.config.model}: {str(error).splitlines()[0]}") from None
    if not any(partial.glob("*.safetensors")):
        raise BadInput(f"{name} on the hub has no .safetensors weights; use a revision that has")
    for file in partial.iterdir():
        if file.name != ".cache":
            file.rename(stage.output / file.name)
    return {"model": stage.config.model, "bytes": _size(stage.output), "seconds": time.monotonic() - started}


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir() if file.is_file())


if __name__ == "__main__":
    stage.main(Config, run)
