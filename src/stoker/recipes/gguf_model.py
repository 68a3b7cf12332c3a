"""A transformers model from a GGUF file of a plain family, read once.

transformers reads the header of such a file three times, string by string in numpy: 12 s for a model of 135 M
parameters, 3 s here. Families with more to them (scaled rotations, experts, soft-capping) are left to it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from stoker.recipes.gguf_families import family_of_gguf
from stoker.sources import gguf

_PLAIN = ("llama", "qwen2", "qwen3")
_SPECIAL_KEYS = ("rope.scaling", "expert_count", "attention.sliding_window")
_SPECIAL_TENSORS = ("rope_freqs", "_exps", "_scale")


def is_plain(header: gguf.Header) -> bool:
    """Whether `load` reads all there is to the model."""
    family = header.metadata.get("general.architecture")
    special = any(key.startswith(f"{family}.{name}") for key in header.metadata for name in _SPECIAL_KEYS)
    odd = any(part in tensor.name for tensor in header.tensors for part in _SPECIAL_TENSORS)
    return family in _PLAIN and not special and not odd


def load(path: Path, header: gguf.Header, dtype: torch.dtype, attention: str | None) -> Any:
    """The model with its weights dequantised to `dtype`, in evaluation mode."""
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING

    config = _config(header)
    model_class = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    config.name_or_path = str(path)
    weights = _weights(path, header, config, dtype)
    return model_class.from_pretrained(
        None, config=config, state_dict=weights, dtype=dtype, attn_implementation=attention
    )


def _config(header: gguf.Header) -> Any:
    from transformers import AutoConfig

    family = str(header.metadata["general.architecture"])
    found = {key.removeprefix(f"{family}."): value for key, value in header.metadata.items()}
    hidden, heads = found["embedding_length"], found["attention.head_count"]
    return AutoConfig.for_model(
        family,
        vocab_size=len(found["tokenizer.ggml.tokens"]),
        hidden_size=hidden,
        intermediate_size=found["feed_forward_length"],
        num_hidden_layers=found["block_count"],
        num_attention_heads=heads,
        num_key_value_heads=found.get("attention.head_count_kv", heads),
        head_dim=found.get("attention.key_length", hidden // heads),
        max_position_embeddings=found["context_length"],
        rms_norm_eps=found["attention.layer_norm_rms_epsilon"],
        rope_parameters={"rope_type": "default", "rope_theta": found.get("rope.freq_base", 10000.0)},
        tie_word_embeddings=all(tensor.name != "output.weight" for tensor in header.tensors),
        bos_token_id=found.get("tokenizer.ggml.bos_token_id"),
        eos_token_id=found.get("tokenizer.ggml.eos_token_id"),
        pad_token_id=found.get("tokenizer.ggml.padding_token_id"),
    )


def _weights(path: Path, header: gguf.Header, config: Any, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Tensors by Hugging Face's names and in its layout."""
    family = family_of_gguf(str(header.metadata["general.architecture"]))
    content = np.memmap(path, dtype=np.uint8, mode="r")
    weights: dict[str, torch.Tensor] = {}
    for tensor in header.tensors:
        name = family.hf_name(tensor.name)
        if name is not None:
            value = family.to_hf(
                name, _dequantised(content, tensor), config.num_attention_heads, config.num_key_value_heads
            )
            weights[name] = torch.from_numpy(np.array(value, order="C")).to(dtype)
    return weights


def _dequantised(content: Any, tensor: gguf.Tensor) -> Any:
    """float32 [.., columns]; GGUF lists the columns first."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, quants

    kind = GGMLQuantizationType(tensor.kind)
    block, size = GGML_QUANT_SIZES[kind]
    columns, *rows = tensor.shape
    count = int(np.prod(rows, dtype=np.int64))
    raw = content[tensor.offset : tensor.offset + count * columns // block * size]
    value = quants.dequantize(np.asarray(raw).reshape(count, -1), kind)
    return value.reshape(*reversed(tensor.shape))
