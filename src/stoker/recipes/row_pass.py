"""One packed row through the model: the summed loss over its trained positions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from stoker.recipes import adapters, cross_entropy, packed_attention
from stoker.recipes.packing import SHARED, Row


def attention_for(family: str) -> str | None:
    """The attention to load a model with so that rows are computed fastest; None leaves the choice to the model."""
    if family in packed_attention.FAMILIES:
        packed_attention.register()
        return packed_attention.NAME
    return None


@dataclass(frozen=True)
class RowPass:
    """The model (as `adapters.attach` or `adapters.apply` made it) with what a row needs on its way."""

    model: Any
    device: torch.device
    dtype: torch.dtype  # computed in; float32 switches autocast off

    def loss(self, row: Row) -> torch.Tensor:
        """Sum of -log p(target) over the row's trained positions, differentiable."""
        causal = adapters.inner(self.model)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.dtype is torch.bfloat16):
            before, inputs = self._inputs(causal, row)
            wanted = torch.tensor(row.predicts, device=self.device) + before
            positions = [*range(before), *(before + position for position in row.positions)]
            output = causal(
                **inputs,
                position_ids=torch.tensor([positions], device=self.device),
                **self._visibility(causal, row, before),
                logits_to_keep=wanted,
                use_cache=False,
            )
        return cross_entropy.summed(output.logits.squeeze(0), torch.tensor(row.targets, device=self.device))

    def _inputs(self, causal: Any, row: Row) -> tuple[int, dict[str, torch.Tensor]]:
        """The number of soft-prompt positions, and the row as ids or as embeddings behind the soft prompt."""
        ids = torch.tensor([row.ids], device=self.device)
        prompt = adapters.soft_prompt(self.model)
        if prompt is None:
            return 0, {"input_ids": ids}
        words = causal.get_input_embeddings()(ids)
        return len(prompt), {"inputs_embeds": torch.cat([prompt[None].to(words.dtype), words], dim=1)}

    def _visibility(self, causal: Any, row: Row, before: int) -> dict[str, Any]:
        """Who sees whom: the blocks for packed attention, else a dense mask [1, 1, L, L], added to the scores."""
        if causal.config._attn_implementation == packed_attention.NAME:  # noqa: SLF001 - no public reader
            return {"blocks": packed_attention.blocks(row, before, self.device)}
        segments = torch.tensor([*[SHARED] * before, *row.segments], device=self.device)
        same = (segments[:, None] == segments[None, :]) | (segments[None, :] == SHARED)
        hidden = torch.zeros(same.shape, dtype=self._kept_in(causal), device=self.device)
        return {"attention_mask": hidden.masked_fill(~same.tril(), float("-inf"))[None, None]}

    def _kept_in(self, causal: Any) -> torch.dtype:
        """What attention computes its scores in: a mask must have the same type."""
        held: torch.dtype = self.dtype if self.dtype is torch.bfloat16 else causal.dtype
        return held
