"""A transformer's layer with next to no arithmetic: what is left is the time it takes to start operations.

Modules, views, casts and autograd are as in transformers' decoder layers, at a width where products take nothing.
"""

from __future__ import annotations

import torch
from torch import nn

_HEADS, _WIDTH = 2, 16  # of a head


class _Norm(nn.Module):  # type: ignore[misc]  # torch is untyped here
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(hidden))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        wide = values.to(torch.float32)
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)
        return self.weight * wide.to(values.dtype)


class Adapted(nn.Module):  # type: ignore[misc]
    """A frozen matrix with a LoRA adapter, as PEFT runs it."""

    def __init__(self, inner: nn.Linear) -> None:
        super().__init__()
        self.inner = inner.requires_grad_(False)
        self.dropout = nn.Identity()
        self.down = nn.Linear(inner.in_features, 4, bias=False)
        self.up = nn.Linear(4, inner.out_features, bias=False)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        result = self.inner(values)
        narrow = self.dropout(values.to(self.down.weight.dtype))
        return result + self.up(self.down(narrow)) * 2.0


class LittleLayer(nn.Module):  # type: ignore[misc]
    """Attention and a gated feed-forward block between norms and residuals."""

    def __init__(self, *, adapted: bool) -> None:
        super().__init__()
        hidden = _HEADS * _WIDTH

        def matrix() -> nn.Module:
            plain = nn.Linear(hidden, hidden, bias=False)
            return Adapted(plain) if adapted else plain

        self.before, self.between = _Norm(hidden), _Norm(hidden)
        self.query, self.key, self.value, self.output = (matrix() for _ in range(4))
        self.gate, self.up, self.down = (matrix() for _ in range(3))
        if adapted:
            self.before.requires_grad_(False)
            self.between.requires_grad_(False)

    def forward(self, values: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
        values = values + self._attend(self.before(values), cosine, sine)
        inner = self.between(values)
        return values + self.down(nn.functional.silu(self.gate(inner)) * self.up(inner))

    def _attend(self, values: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
        batch, length, _ = values.shape
        query, key, value = (
            matrix(values).view(batch, length, _HEADS, _WIDTH).transpose(1, 2)
            for matrix in (self.query, self.key, self.value)
        )
        query, key = (part * cosine + _rotated(part) * sine for part in (query, key))
        scores = (query @ key.transpose(-1, -2)) * _WIDTH**-0.5
        weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(value.dtype)
        mixed = (weights @ value).transpose(1, 2).reshape(batch, length, -1)
        result: torch.Tensor = self.output(mixed.contiguous())
        return result


def _rotated(part: torch.Tensor) -> torch.Tensor:
    first, second = part.chunk(2, dim=-1)
    return torch.cat((-second, first), dim=-1)


def one_pass(layer: LittleLayer, on: torch.device, dtype: torch.dtype) -> None:
    """Four tokens forward and backward, computed as training does: bf16 by autocast."""
    values = torch.ones(1, 4, _HEADS * _WIDTH, device=on, requires_grad=True)
    turned = torch.ones(4, _WIDTH, device=on)
    with torch.autocast(on.type, torch.bfloat16, enabled=dtype is torch.bfloat16):
        result = layer(values, turned, turned)
    result.sum().backward()
