"""Greedy answers for many prompts at once: left padding, key-value cache, the common beginning computed once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from stoker.recipes import adapters

Top = list[tuple[int, float]]  # the likeliest tokens of one position with their logprobs, likeliest first


@dataclass
class Answer:
    """What the model says to one prompt; `tokens` ends with the end token when it came to an end."""

    tokens: list[int] = field(default_factory=list)
    top: list[Top] = field(default_factory=list)


@dataclass(frozen=True)
class Greedy:
    """A model (as `adapters.attach` or `adapters.apply` made it) that answers."""

    model: Any
    end_tokens: Collection[int]
    batch: int = 48
    top: int = 10  # how many likeliest tokens to keep per position

    def answers(
        self, prompts: Sequence[Sequence[int]], limit: int, told: Callable[[int], None] = lambda _done: None
    ) -> list[Answer]:
        """One answer of at most `limit` tokens per prompt, in the order of the prompts."""
        answers = [Answer() for _ in prompts]
        order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
        for start in range(0, len(order), self.batch):
            chosen = order[start : start + self.batch]
            with torch.no_grad():
                self._together([prompts[index] for index in chosen], [answers[index] for index in chosen], limit)
            told(start + len(chosen))
        return answers

    def _together(self, prompts: Sequence[Sequence[int]], answers: Sequence[Answer], limit: int) -> None:
        """Fill `answers` in lockstep; one that has ended goes on unheard until all have."""
        shared = _common(prompts)
        state = _State.begin(self.model, prompts, shared)
        for _ in range(limit):
            logprobs = torch.log_softmax(state.logits.float(), dim=-1)
            values, indices = logprobs.topk(self.top)
            for row, answer in enumerate(answers):
                if not (answer.tokens and answer.tokens[-1] in self.end_tokens):
                    answer.tokens.append(int(indices[row, 0]))
                    answer.top.append(list(zip(indices[row].tolist(), values[row].tolist(), strict=True)))
            if all(answer.tokens[-1] in self.end_tokens for answer in answers):
                return
            state.step(indices[:, :1])


class _State:
    """The cache, the mask over it, and the logits of what comes next; B prompts."""

    def __init__(self, causal: Any, cache: Any, mask: torch.Tensor, logits: torch.Tensor) -> None:
        self._causal, self._cache, self._mask = causal, cache, mask
        self.logits = logits  # [B, vocabulary]

    @classmethod
    def begin(cls, model: Any, prompts: Sequence[Sequence[int]], shared: int) -> _State:
        """Read the prompts: their beginning once, the rest padded on the left."""
        from transformers import DynamicCache

        causal = adapters.inner(model)
        cache, count = DynamicCache(config=causal.config), len(prompts)
        head = _beginning(model, causal, prompts[0][:shared])
        if head.shape[1]:
            causal(inputs_embeds=head, past_key_values=cache, use_cache=True, logits_to_keep=1)
            cache.batch_repeat_interleave(count)
        rest = [list(prompt[shared:]) for prompt in prompts]
        longest = max(map(len, rest))
        ids = torch.tensor([[0] * (longest - len(own)) + own for own in rest], device=causal.device)
        real = torch.tensor([[0] * (longest - len(own)) + [1] * len(own) for own in rest], device=causal.device)
        mask = torch.cat([torch.ones(count, head.shape[1], dtype=real.dtype, device=real.device), real], dim=1)
        state = cls(causal, cache, mask, torch.empty(0))
        state._read(ids, mask)
        return state

    def step(self, tokens: torch.Tensor) -> None:
        """Go on by one token per prompt, [B, 1]."""
        one = torch.ones(len(tokens), 1, dtype=self._mask.dtype, device=self._mask.device)
        self._read(tokens, torch.cat([self._mask, one], dim=1))

    def _read(self, ids: torch.Tensor, mask: torch.Tensor) -> None:
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        output = self._causal(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        self._mask, self.logits = mask, output.logits[:, -1]


def _beginning(model: Any, causal: Any, ids: Sequence[int]) -> torch.Tensor:
    """Embeddings of the soft prompt, if any, and of the common beginning, [1, length, hidden]."""
    words = causal.get_input_embeddings()(torch.tensor([list(ids)], dtype=torch.long, device=causal.device))
    prompt = adapters.soft_prompt(model)
    return words if prompt is None else torch.cat([prompt[None].to(words.dtype), words], dim=1)


def _common(prompts: Sequence[Sequence[int]]) -> int:
    """Tokens all prompts begin with, leaving at least one to each."""
    shortest = min(map(len, prompts))
    shared = 0
    while shared < shortest - 1 and len({prompt[shared] for prompt in prompts}) == 1:
        shared += 1
    return shared
