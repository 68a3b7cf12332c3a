"""How much memory training needs, part by part, before anything is loaded.

Activations kept for the backward pass, per token and layer (Korthikanti et al. 2022, counted anew for gated
feed-forward blocks and grouped keys as transformers runs them): norms keep a float32 copy of their input, every
matrix its input. With checkpointing a layer keeps only its input, and one layer at a time has all of the rest.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from stoker.errors import Unfit
from stoker.model import Architecture
from stoker.units import format_bytes

_RUNTIME = 600 << 20  # interpreter, torch, tokenizer
_SLACK = 1.1  # fragmentation of the allocator


@dataclass(frozen=True)
class Memory:
    """Bytes by part, on one device."""

    weights: int
    gradients: int
    optimiser: int
    activations: int
    logits: int
    runtime: int = _RUNTIME

    @property
    def total(self) -> int:
        parts: list[int] = [getattr(self, part.name) for part in fields(self)]
        return round(sum(parts) * _SLACK)

    def sentence(self) -> str:
        """``weights 0.3 GiB + gradients ... = 1.9 GiB``"""
        parts = " + ".join(f"{part.name} {format_bytes(getattr(self, part.name))}" for part in fields(self))
        return f"({parts}) x {_SLACK} = {format_bytes(self.total)}"


def training(
    model: Architecture,
    *,
    trainable: int,
    full: bool,
    row_tokens: int,
    predictions: int,
    bytes_per_value: int,
    checkpointing: bool,
) -> Memory:
    """Memory to train with AdamW, one row of `row_tokens` at a time, of which `predictions` are trained.

    Weights that move are float32, with float32 gradients and two float32 moments; frozen ones and activations
    take `bytes_per_value`.
    """
    weights = model.parameters * (4 if full else bytes_per_value) + (0 if full else 4 * trainable)
    copies = model.parameters * bytes_per_value if full and bytes_per_value < 4 else 0  # autocast's
    return Memory(
        weights=weights + copies,
        gradients=4 * trainable,
        optimiser=8 * trainable,
        activations=_activations(model, row_tokens, bytes_per_value, checkpointing),
        logits=predictions * model.vocabulary * (2 * bytes_per_value),
    )


def adapter_parameters(model: Architecture, method: str, *, rank: int = 0, size: int = 0, tokens: int = 0) -> int:
    """Roughly how many parameters an adapter has; exact for LoRA on all linear layers of a dense model."""
    query, keys = model.heads * model.head_dim, model.kv_heads * model.head_dim
    if method == "full":
        return model.parameters
    if method == "lora":
        sides = 2 * (model.hidden + query) + 2 * (model.hidden + keys) + 3 * (model.hidden + model.ffn)
        return rank * sides * model.layers
    if method == "bottleneck":
        return 2 * model.layers * (2 * model.hidden * size + model.hidden + size)
    if method == "ia3":
        return model.layers * (2 * keys + model.ffn)
    return tokens * model.hidden + 6 * model.hidden * model.hidden


def check_fits(memory: Memory, available: int, *, advice: str) -> None:
    """Raises Unfit with the arithmetic in one line when `memory` is more than `available` bytes."""
    if memory.total > available:
        raise Unfit(
            f"training needs {memory.sentence()}, but {format_bytes(available)} are free: {advice}", param="base"
        )


def _activations(model: Architecture, tokens: int, width: int, checkpointing: bool) -> int:
    query, keys = model.heads * model.head_dim, model.kv_heads * model.head_dim
    attention = 3 * query + 4 * keys  # before and after rotation, and the output
    per_layer = (8 * model.hidden + attention + 4 * model.ffn) * width + 8 * model.hidden  # two float32 norms
    if checkpointing:
        return tokens * (model.layers * model.hidden * width + per_layer)
    return tokens * model.layers * per_layer
