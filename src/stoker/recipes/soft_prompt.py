"""Bake a trained soft prompt (P-tuning, prompt tuning) into a model: one new token for each virtual one.

The new tokens' embedding rows are the trained vectors; the chat template puts the tokens before every
conversation, so any engine that reads the file serves the tuned model.

They must never be answered. Where input and output share one matrix, the output gets its own, in which each new
row is the mean of all others. Then its logit is the mean logit, which is never above the largest: greedy decoding
cannot choose it, and by Jensen's inequality its probability is at most 1 / vocabulary (in practice far below, since
a trained model's logits are spread). llama.cpp is told besides to give it probability zero (``suppress_tokens``).
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from stoker.errors import BadInput, Unfit
from stoker.recipes.base_tensors import EMBEDDING, OUTPUT, Overlaid, Tensors
from stoker.recipes.export_base import Base
from stoker.recipes.gguf_families import Matrix
from stoker.recipes.merge import read_adapter

BAKEABLE = ("P_TUNING", "PROMPT_TUNING")  # PREFIX_TUNING feeds every layer: no token's embedding can say that


def token_names(count: int) -> list[str]:
    return [f"<|soft_{index}|>" for index in range(count)]


def read_prompt(adapter: Path, hidden: int) -> Matrix:
    """The trained virtual tokens, (tokens, hidden)."""
    kind = json.loads((adapter / "adapter_config.json").read_text())["peft_type"]
    if kind not in BAKEABLE:
        raise Unfit(
            f"cannot bake a {kind} adapter into tokens; there are: {', '.join(BAKEABLE)}; serve it with torch"
        )
    prompt = read_adapter(adapter)["prompt_embeddings"]
    if prompt.shape[1] != hidden:
        raise BadInput(
            f"the soft prompt is {prompt.shape[1]} wide, the base {hidden}; give the base it was trained on"
        )
    return prompt


def with_prompt_rows(base: Base, prompt: Matrix) -> Tensors:
    """`base`'s tensors with the prompt's rows below the embedding and inert rows below the output matrix."""
    if base.family.always_tied:
        raise Unfit(
            f"llama.cpp ties the output of {base.family.architecture} to its embedding; serve it with torch"
        )
    embedding = base.tensors.read(EMBEDDING)
    output = base.tensors.read(OUTPUT) if OUTPUT in set(base.tensors.names()) else embedding
    inert = np.repeat(output.mean(axis=0, keepdims=True), len(prompt), axis=0)
    return Overlaid(base.tensors, {EMBEDDING: np.vstack([embedding, prompt]), OUTPUT: np.vstack([output, inert])})
