"""What a killed training needs to go on as if nothing had happened. Tensors as safetensors, the rest as JSON.

A checkpoint is a folder ``step-000120`` that appears in one rename; the last two are kept.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from stoker.recipes.ranks import Ranks
from stoker.recipes.tensor_files import full_disk_told

KEPT = 2
_STATE, _TENSORS = "state.json", "tensors.safetensors"


@dataclass(frozen=True)
class Progress:
    """How far the training is."""

    step: int  # steps done
    tokens: int  # tokens computed, all ranks
    losses: tuple[float, ...]  # one per step
    seconds: float  # spent in steps


def save(
    folder: Path, progress: Progress, parameters: Mapping[str, torch.nn.Parameter], optimiser: torch.optim.Optimizer
) -> None:
    """Write a checkpoint; afterwards only the last two are there."""
    from safetensors.torch import save_file

    final = folder / f"step-{progress.step:08d}"
    partial = folder / f".{final.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    with full_disk_told(partial):
        save_file(_tensors(parameters, optimiser), partial / _TENSORS)
    (partial / _STATE).write_text(
        json.dumps(
            {
                "step": progress.step,
                "tokens": progress.tokens,
                "losses": progress.losses,
                "seconds": progress.seconds,
            }
        )
    )
    for written in (partial / _TENSORS, partial / _STATE, partial):
        _flush(written)
    shutil.rmtree(final, ignore_errors=True)
    partial.rename(final)
    _flush(folder)
    for old in _all(folder)[:-KEPT]:
        shutil.rmtree(old)


def restore(
    folder: Path,
    parameters: Mapping[str, torch.nn.Parameter],
    optimiser: torch.optim.Optimizer,
    ranks: Ranks,
    on: torch.device,
) -> Progress | None:
    """Load the latest checkpoint into `parameters` and `optimiser`; None when there is none.

    The first rank reads it for all: on a shared folder two nodes may see two states for a moment.
    """
    progress, tensors = _read(folder) if ranks.first else (None, {})
    progress = ranks.tell(progress)
    if progress is not None:
        _put(ranks.share(tensors, on), parameters, optimiser)
    return progress


def _read(folder: Path) -> tuple[Progress | None, Mapping[str, torch.Tensor]]:
    from safetensors.torch import load_file

    found = _all(folder)
    if not found:
        return None, {}
    state: dict[str, Any] = json.loads((found[-1] / _STATE).read_text())
    progress = Progress(state["step"], state["tokens"], tuple(state["losses"]), state["seconds"])
    return progress, load_file(found[-1] / _TENSORS)


def _put(
    tensors: Mapping[str, torch.Tensor],
    parameters: Mapping[str, torch.nn.Parameter],
    optimiser: torch.optim.Optimizer,
) -> None:
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(tensors[f"weight/{name}"])
            moments = {
                key: tensors[f"{key}/{name}"].to(parameter.device if key != "step" else "cpu")
                for key in ("exp_avg", "exp_avg_sq", "step")
                if f"{key}/{name}" in tensors
            }
            if moments:
                optimiser.state[parameter] = moments


def _tensors(
    parameters: Mapping[str, torch.nn.Parameter], optimiser: torch.optim.Optimizer
) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = {}
    for name, parameter in parameters.items():
        tensors[f"weight/{name}"] = parameter.detach().contiguous()
        for key, value in optimiser.state.get(parameter, {}).items():
            tensors[f"{key}/{name}"] = value.contiguous()
    return tensors


def _all(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"))


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
