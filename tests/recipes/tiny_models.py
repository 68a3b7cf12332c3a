"""Tiny random models with a real byte-level tokenizer, and what training and evaluation leave of them.

Random weights are drawn wide, so that next-token distributions are peaked like a trained model's: between flat
distributions every two models look alike.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

TEMPLATE = (
    "{% for message in messages %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PROMPTS = [
    "Why is the GPU hot?",
    "链路为什么断了？",
    "List 3 rails.",
    "What does XID 79 mean?",
    "Restart  the\nnode 42!",
    "it's 100% sure",
]
_TEXT = [
    "the gpu is hot because the fan is off",
    "what does the link do when a rail is down",
    "restart the node and list all jobs",
    "链路为什么断了 光模块 显卡 温度",
    "user assistant system rail node gpu link",
]
_SIZES = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 256, "initializer_range": 0.25,
}  # fmt: skip


def make_tokenizer(pre: pre_tokenizers.PreTokenizer | None = None) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre or pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(_TEXT * 4, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|endoftext|>",
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=TEMPLATE,
    )


def make_model(family: str, vocabulary: int, *, seed: int = 0, **more: Any) -> PreTrainedModel:
    torch.manual_seed(seed)
    config = _config(family, vocabulary, more)
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()


def _config(family: str, vocabulary: int, more: dict[str, Any]) -> PretrainedConfig:
    from transformers import AutoConfig

    sizes = {**_SIZES, "vocab_size": vocabulary, "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 0}
    return AutoConfig.for_model(family, **{**sizes, **more})


def save_base(folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> Path:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_training(folder: Path, method: str, model: Any) -> Path:
    """What `train` leaves: ``model/`` of a full training, ``adapter/`` of a peft model."""
    model.save_pretrained(folder / ("model" if method == "full" else "adapter"))
    (folder / "result.json").write_text(json.dumps({"method": method}))
    return folder


def disturb(model: Any, scale: float = 0.2) -> None:
    """Move every trainable weight, as training would: fresh adapters change nothing."""
    torch.manual_seed(7)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn_like(weight) * scale)


def save_probes(
    folder: Path, model: Any, tokenizer: PreTrainedTokenizerFast, prompts: Sequence[str] = PROMPTS, count: int = 16
) -> Path:
    """What `evaluate` leaves: the greedy answers of `model`, with the top 10 of each position."""
    lines = []
    for prompt in prompts:
        messages = [{"role": "user", "content": prompt}]
        ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"]
        tokens, top = _greedy(model, ids, count, end=tokenizer.eos_token_id)
        text = tokenizer.decode(tokens, skip_special_tokens=True)
        lines.append(json.dumps({"messages": messages, "tokens": tokens, "text": text, "top": top}))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "probes.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def _greedy(model: Any, ids: list[int], count: int, end: int) -> tuple[list[int], list[list[tuple[int, float]]]]:
    said: list[int] = []
    tops: list[list[tuple[int, float]]] = []
    while len(said) < count and (not said or said[-1] != end):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([[*ids, *said]])).logits[0, -1].float()
        best = torch.log_softmax(logits, -1).topk(10)
        tops.append(list(zip(best.indices.tolist(), best.values.tolist(), strict=True)))
        said.append(tops[-1][0][0])
    return said, tops
