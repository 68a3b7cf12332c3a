"""What GGUF calls the parts of each model family, and how it stores them.

One `Family` per ``general.architecture`` of GGUF. Tensor names and layouts are those of llama.cpp's own converter
(``convert_hf_to_gguf.py``); they hold in both directions, because a GGUF file is also taken as a base.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stoker.errors import Unfit, near

Matrix = NDArray[np.float32]

_OUTER = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
_LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_PRE_NORM = {"post_attention_layernorm": "ffn_norm"}
_SANDWICH = {
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}
_HF_LAYER = re.compile(r"model\.layers\.(\d+)\.(.+)\.(weight|bias)")
_GGUF_LAYER = re.compile(r"blk\.(\d+)\.(.+)\.(weight|bias)")


@dataclass(frozen=True)
class Family:
    """How one architecture is named and laid out in GGUF."""

    architecture: str  # general.architecture
    model_types: tuple[str, ...]  # Hugging Face's model_type
    interleaved_rope: bool = False  # Q and K rows are reordered: GGUF rotates neighbours, HF rotates halves
    norm_offset: float = 0.0  # GGUF's norm weights are HF's plus this
    sandwich_norms: bool = False  # norms behind attention and feed-forward too
    always_tied: bool = False  # llama.cpp reads no separate output matrix for it
    head_dim_keys: bool = False  # head_dim need not be hidden / heads, so it is written

    @property
    def _layer_names(self) -> dict[str, str]:
        return {**_LAYER, **(_SANDWICH if self.sandwich_norms else _PRE_NORM)}

    def gguf_name(self, name: str) -> str:
        """GGUF's name of the HF tensor `name`; raises Unfit for a tensor the family does not have."""
        if match := _HF_LAYER.fullmatch(name):
            layer, part, kind = match.groups()
            if part in self._layer_names:
                return f"blk.{layer}.{self._layer_names[part]}.{kind}"
        stem, _, kind = name.rpartition(".")
        if stem in _OUTER:
            return f"{_OUTER[stem]}.{kind}"
        raise Unfit(
            f'tensor "{name}" has no place in a GGUF file of {self.architecture}; serve it with torch or vllm'
        )

    def hf_name(self, name: str) -> str | None:
        """HF's name of the GGUF tensor `name`; None for what GGUF alone has (rope_freqs)."""
        if match := _GGUF_LAYER.fullmatch(name):
            layer, part, kind = match.groups()
            back = {gguf: hf for hf, gguf in self._layer_names.items()}
            return f"model.layers.{layer}.{back[part]}.{kind}" if part in back else None
        stem, _, kind = name.rpartition(".")
        outer = {gguf: hf for hf, gguf in _OUTER.items()}
        return f"{outer[stem]}.{kind}" if stem in outer else None

    def to_gguf(self, name: str, value: Matrix, heads: int, kv_heads: int) -> Matrix:
        """The HF tensor `name` in GGUF's layout."""
        if self.norm_offset and name.endswith("norm.weight"):
            return value + self.norm_offset
        count = self._rotated_heads(name, heads, kv_heads)
        return _halves_to_pairs(value, count) if count else value

    def to_hf(self, name: str, value: Matrix, heads: int, kv_heads: int) -> Matrix:
        """The inverse of `to_gguf`; `name` is HF's."""
        if self.norm_offset and name.endswith("norm.weight"):
            return value - self.norm_offset
        count = self._rotated_heads(name, heads, kv_heads)
        return _pairs_to_halves(value, count) if count else value

    def _rotated_heads(self, name: str, heads: int, kv_heads: int) -> int:
        if not self.interleaved_rope:
            return 0
        if ".q_proj." in name:
            return heads
        return kv_heads if ".k_proj." in name else 0


FAMILIES = (
    Family("llama", ("llama", "mistral"), interleaved_rope=True),
    Family("qwen2", ("qwen2",)),
    Family("qwen3", ("qwen3",), head_dim_keys=True),
    Family("gemma", ("gemma",), norm_offset=1, always_tied=True, head_dim_keys=True),
    Family(
        "gemma2",
        ("gemma2",),
        norm_offset=1,
        sandwich_norms=True,
        always_tied=True,
        head_dim_keys=True,
    ),
)


def family_of_gguf(architecture: str) -> Family:
    known = {family.architecture: family for family in FAMILIES}
    if architecture not in known:
        raise Unfit(_unsupported(architecture, known))
    return known[architecture]


def family_of_hf(model_type: str) -> Family:
    known = {model_type: family for family in FAMILIES for model_type in family.model_types}
    if model_type not in known:
        raise Unfit(_unsupported(model_type, known))
    return known[model_type]


def _unsupported(given: str, known: Mapping[str, Family]) -> str:
    hint = near(given, known) or f"; there are: {', '.join(sorted(known))}"
    return f'cannot export a model of family "{given}" to GGUF{hint}; serve it with torch or vllm'


def _halves_to_pairs(value: Matrix, heads: int) -> Matrix:
    """Rows ``[r0..r(d/2), i0..i(d/2)]`` of each head become ``[r0, i0, r1, i1, ...]``; weights and biases."""
    rows = value.shape[0]
    return value.reshape(heads, 2, rows // heads // 2, *value.shape[1:]).swapaxes(1, 2).reshape(value.shape)


def _pairs_to_halves(value: Matrix, heads: int) -> Matrix:
    rows = value.shape[0]
    return value.reshape(heads, rows // heads // 2, 2, *value.shape[1:]).swapaxes(1, 2).reshape(value.shape)


def numbers_of_hf(family: Family, config: Mapping[str, Any]) -> dict[str, int | float | str]:
    """GGUF's architecture keys (without the architecture's prefix) from the contents of ``config.json``."""
    heads = config["num_attention_heads"]
    head_dim = config.get("head_dim") or config["hidden_size"] // heads
    rope = _rope_of(config)
    numbers: dict[str, int | float | str] = {
        "block_count": config["num_hidden_layers"],
        "context_length": config["max_position_embeddings"],
        "embedding_length": config["hidden_size"],
        "feed_forward_length": config["intermediate_size"],
        "attention.head_count": heads,
        "attention.head_count_kv": config.get("num_key_value_heads") or heads,
        "attention.layer_norm_rms_epsilon": float(config["rms_norm_eps"]),
        "rope.dimension_count": head_dim,
        "rope.freq_base": float(rope.get("rope_theta", 10_000.0)),
        "vocab_size": config["vocab_size"],
    }
    if family.head_dim_keys or head_dim * heads != config["hidden_size"]:
        numbers |= {"attention.key_length": head_dim, "attention.value_length": head_dim}
    if family.architecture == "gemma2":
        numbers |= {
            "attn_logit_softcapping": float(config["attn_logit_softcapping"]),
            "final_logit_softcapping": float(config["final_logit_softcapping"]),
            "attention.sliding_window": config["sliding_window"],
        }
    return numbers | _rope_scaling(rope)


def _rope_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """transformers 5 writes ``rope_parameters``, older ones ``rope_theta`` and ``rope_scaling``."""
    theta = {"rope_theta": config["rope_theta"]} if "rope_theta" in config else {}
    return {**theta, **(config.get("rope_scaling") or {}), **(config.get("rope_parameters") or {})}


def _rope_scaling(rope: Mapping[str, Any]) -> dict[str, int | float | str]:
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind in ("default", "llama3"):  # llama3's factors are a tensor, see rope_factors
        return {}
    if kind not in ("linear", "yarn"):
        raise Unfit(f'cannot export rope scaling "{kind}" to GGUF; there are: default, linear, llama3, yarn')
    scaling: dict[str, int | float | str] = {
        "rope.scaling.type": kind,
        "rope.scaling.factor": float(rope["factor"]),
    }
    if original := rope.get("original_max_position_embeddings"):
        scaling["rope.scaling.original_context_length"] = int(original)
    return scaling


def rope_factors(config: Mapping[str, Any]) -> list[float] | None:
    """Llama 3.1's divisors of the rotary frequencies, head_dim / 2 of them; None where the family has none.

    Source: ``rope_type: llama3`` in transformers' ``modeling_rope_utils`` and Meta's ``apply_scaling``.
    """
    rope = _rope_of(config)
    if rope.get("rope_type", rope.get("type")) != "llama3":
        return None
    head_dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    factor, low, high = rope["factor"], rope["low_freq_factor"], rope["high_freq_factor"]
    original = rope["original_max_position_embeddings"]
    factors = []
    for pair in range(head_dim // 2):
        wavelength = 2 * math.pi * rope["rope_theta"] ** (2 * pair / head_dim)
        smooth = (original / wavelength - low) / (high - low)
        share = min(max(smooth, 0.0), 1.0)
        factors.append(1 / ((1 - share) / factor + share))
    return factors
