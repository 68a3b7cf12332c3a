"""Bottleneck adapters: a small detour, down to `size` numbers and back, added to what a block puts out.

Houlsby et al. 2019 put one behind attention and one behind the feed-forward block of every layer; Pfeiffer et al.
2021 keep only the latter. The way back up starts at zero, so training starts from the base model exactly.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import nn

Placement = Literal["pfeiffer", "houlsby"]
_BLOCKS = {"pfeiffer": ("mlp",), "houlsby": ("self_attn", "mlp")}


class Bottleneck(nn.Module):  # type: ignore[misc]  # torch is not followed by mypy
    """y + up(silu(down(y))) on the last dimension, [..., hidden] -> [..., hidden]."""

    def __init__(self, hidden: int, size: int) -> None:
        super().__init__()
        self.down = nn.Linear(hidden, size)
        self.up = nn.Linear(size, hidden)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        inside = torch.nn.functional.silu(self.down(hidden_states.to(self.down.weight.dtype)))
        detour: torch.Tensor = self.up(inside)
        return hidden_states + detour.to(hidden_states.dtype)


def attach(model: Any, size: int, placement: Placement) -> None:
    """Freeze `model` and give the named blocks of every layer a Bottleneck as their child ``bottleneck``."""
    model.requires_grad_(False)
    hidden = model.config.hidden_size
    for block in blocks(model, placement):
        block.add_module("bottleneck", Bottleneck(hidden, size))
        block.register_forward_hook(_detour)


def blocks(model: Any, placement: Placement) -> Iterator[nn.Module]:
    for layer in model.get_decoder().layers:
        for name in _BLOCKS[placement]:
            yield getattr(layer, name)


def _detour(block: nn.Module, _inputs: Any, output: Any) -> Any:
    adapter: Any = block.get_submodule("bottleneck")
    if isinstance(output, tuple):
        return (adapter(output[0]), *output[1:])
    return adapter(output)
