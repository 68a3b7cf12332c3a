"""A few layers, and both ends, of a transformer as it is trained: what the quick benchmark of the machine runs.

Modules, views, casts and autograd are as in transformers' decoder layers with PEFT's adapters on them, at the
widths of the model; the attention and the loss are our own. The weights are constant and nothing is learnt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from stoker.model import Architecture
from stoker.recipes import cross_entropy, packed_attention
from stoker.recipes.bottleneck import Bottleneck
from stoker.recipes.packing import Row

_FUSED = {"qkv_proj": ("q_proj", "k_proj", "v_proj"), "gate_up_proj": ("gate_proj", "up_proj")}


@dataclass(frozen=True)
class Tuning:
    """What moves in a layer, and in what type it is computed."""

    dtype: torch.dtype  # computed in; also held in, where the weight does not move
    full: bool = False
    lora: frozenset[str] = frozenset()  # matrices with LoRA, by their names in the layer
    bottlenecks: frozenset[str] = frozenset()  # blocks with a bottleneck behind them: self_attn, mlp
    width: int = 0  # the rank of LoRA's matrices, the size of bottlenecks
    recompute: bool = False

    @property
    def held(self) -> torch.dtype:
        return torch.float32 if self.full else self.dtype

    def autocast(self, on: torch.device) -> torch.autocast:
        return torch.autocast(on.type, torch.bfloat16, enabled=self.dtype is torch.bfloat16)


def adapted(names: list[str]) -> tuple[frozenset[str], frozenset[str]]:
    """The matrices with LoRA and the blocks with bottlenecks, from the names of the parameters that move."""
    parts = [name.split(".") for name in names]
    lora = {one[one.index("lora_A") - 1] for one in parts if "lora_A" in one}
    blocks = {one[one.index("bottleneck") - 1] for one in parts if "bottleneck" in one}
    return frozenset(whole for name in lora for whole in _FUSED.get(name, (name,))), frozenset(blocks)


class _Norm(nn.Module):  # type: ignore[misc]  # torch is untyped here
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(hidden))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        wide = values.to(torch.float32)
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)
        return self.weight * wide.to(values.dtype)


class _Adapted(nn.Module):  # type: ignore[misc]
    """A matrix with LoRA, as PEFT runs it."""

    def __init__(self, inner: nn.Linear, rank: int) -> None:
        super().__init__()
        self.inner = inner
        self.dropout = nn.Identity()
        self.lora_a = nn.Linear(inner.in_features, rank, bias=False)
        self.lora_b = nn.Linear(rank, inner.out_features, bias=False)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        result = self.inner(values)
        return result + self.lora_b(self.lora_a(self.dropout(values))) * 2.0


class _Layer(nn.Module):  # type: ignore[misc]
    """Attention and a feed-forward block between norms and residuals, [1, T, hidden] -> [1, T, hidden]."""

    def __init__(self, model: Architecture, tuning: Tuning) -> None:
        super().__init__()
        self.model, self.tuning = model, tuning
        hidden, heads, keys = model.hidden, model.heads * model.head_dim, model.kv_heads * model.head_dim
        ffn = model.ffn * (model.experts_per_token if model.experts else 1)
        shapes = {"q_proj": (hidden, heads), "k_proj": (hidden, keys), "v_proj": (hidden, keys)}
        shapes |= {"o_proj": (heads, hidden), "up_proj": (hidden, ffn), "down_proj": (ffn, hidden)}
        if model.gated_ffn:
            shapes["gate_proj"] = (hidden, ffn)
        self.matrices = nn.ModuleDict({name: _constant(*shape, tuning) for name, shape in shapes.items()})
        self.before, self.between = (_held(_Norm(hidden), tuning) for _ in range(2))
        for name in tuning.lora & set(shapes):
            self.matrices[name] = _Adapted(self.matrices[name], tuning.width)
        self.behind = nn.ModuleDict({name: Bottleneck(hidden, tuning.width) for name in tuning.bottlenecks})

    def forward(self, values: torch.Tensor, turned: torch.Tensor, blocks: packed_attention.Blocks) -> torch.Tensor:
        values = values + self._after("self_attn", self._attend(self.before(values), turned, blocks))
        inner = self.between(values)
        wide = nn.functional.silu(self.matrices["gate_proj" if self.model.gated_ffn else "up_proj"](inner))
        if self.model.gated_ffn:
            wide = wide * self.matrices["up_proj"](inner)
        return values + self._after("mlp", self.matrices["down_proj"](wide))

    def _after(self, block: str, output: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.behind[block](output) if block in self.behind else output
        return result

    def _attend(self, values: torch.Tensor, turned: torch.Tensor, blocks: packed_attention.Blocks) -> torch.Tensor:
        shape = (*values.shape[:2], -1, self.model.head_dim)
        query, key, value = (
            self.matrices[name](values).view(shape).transpose(1, 2) for name in ("q_proj", "k_proj", "v_proj")
        )
        query, key = (part * turned + _rotated(part) * turned for part in (query, key))
        mixed, _ = packed_attention.attend(
            self, query, key, value, None, scaling=self.model.head_dim**-0.5, blocks=blocks
        )
        result: torch.Tensor = self.matrices["o_proj"](mixed.reshape(*values.shape[:2], -1).contiguous())
        return result


class Layers(nn.Module):  # type: ignore[misc]
    """A few layers on each other: none finds its weights and activations in a cache, as in a whole model."""

    COUNT = 3

    def __init__(self, model: Architecture, tuning: Tuning) -> None:
        super().__init__()
        self.model, self.tuning = model, tuning
        self.layers = nn.ModuleList(_Layer(model, tuning) for _ in range(self.COUNT))

    def train_once(self, row: Row, on: torch.device) -> None:
        """The row forward and backward through all."""
        self.zero_grad(set_to_none=True)
        held = self.tuning.held
        start = torch.ones(1, len(row), self.model.hidden, device=on, dtype=held, requires_grad=True)
        turned = torch.ones(1, 1, len(row), self.model.head_dim, device=on, dtype=held)
        blocks = packed_attention.blocks(row, 0, on)
        values = start
        with self.tuning.autocast(on):
            for layer in self.layers:
                given = (values, turned, blocks)
                values = checkpoint(layer, *given, use_reentrant=False) if self.tuning.recompute else layer(*given)
        values.backward(torch.ones_like(values))


class Ends(nn.Module):  # type: ignore[misc]
    """The embedding and the output over `vocabulary` words, with the loss."""

    def __init__(self, model: Architecture, vocabulary: int, tuning: Tuning) -> None:
        super().__init__()
        self.hidden, self.tuning = model.hidden, tuning
        self.head = _constant(model.hidden, vocabulary, tuning)
        self.words = (
            self.head.weight if model.tied_embeddings else _constant(model.hidden, vocabulary, tuning).weight
        )

    def train_once(self, predictions: int, on: torch.device) -> None:
        """As many positions from words to loss and back; what moves in layers has its gradient from there."""
        self.zero_grad(set_to_none=True)
        chosen = torch.arange(predictions, device=on) % len(self.words)
        with self.tuning.autocast(on):
            values = nn.functional.embedding(chosen, self.words)
            if not self.tuning.full:
                values.requires_grad_(True)
            logits = self.head(values)
        cross_entropy.summed(logits, chosen).backward()


def attend_once(model: Architecture, row: Row, tuning: Tuning, on: torch.device) -> None:
    """The core of attention alone, forward and backward."""
    query, key, value = (
        torch.ones(1, heads, len(row), model.head_dim, device=on, dtype=tuning.dtype, requires_grad=True)
        for heads in (model.heads, model.kv_heads, model.kv_heads)
    )
    blocks = packed_attention.blocks(row, 0, on)
    result, _ = packed_attention.attend(None, query, key, value, None, scaling=model.head_dim**-0.5, blocks=blocks)
    result.backward(torch.ones_like(result))


def _constant(inputs: int, outputs: int, tuning: Tuning) -> Any:
    matrix = nn.Linear(inputs, outputs, bias=False, device="meta").to_empty(device="cpu")
    nn.init.constant_(matrix.weight, 1.0 / inputs)
    return _held(matrix, tuning)


def _held(module: nn.Module, tuning: Tuning) -> nn.Module:
    return module.to(tuning.held).requires_grad_(tuning.full)


def _rotated(part: torch.Tensor) -> torch.Tensor:
    first, second = part.chunk(2, dim=-1)
    return torch.cat((-second, first), dim=-1)
