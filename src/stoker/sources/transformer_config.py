"""The shape of a model from its config.json, or by name. Weights are not looked at: plans need none."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from stoker.errors import BadInput, NotFound
from stoker.perf.models import transformer
from stoker.perf.transformer import Attention, Experts, LinearAttention, Mamba, Transformer

_GATED = (
    "llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "phi3", "granite", "smollm3", "glm4", "cohere",
    "olmo2",
)  # fmt: skip
_GATED_DELTA = ("qwen3_next", "qwen3_5", "qwen3_5_text", "qwen3_5_moe", "qwen3_5_moe_text")
_PLAIN = ("gpt_neox", "starcoder2", "nemotron", "opt", "falcon", "bloom")


def find_transformer(named: str) -> Transformer:
    """The model in the folder or config.json `named`, else the one of that name in the catalogue."""
    path = Path(named)
    if path.is_dir() or path.suffix == ".json" or ("/" in named and path.exists()):
        return from_file(path / "config.json" if path.is_dir() else path)
    return transformer(named)


def from_file(path: Path) -> Transformer:
    """Raises NotFound without the file; BadInput for one that is spoilt, or of a family that is not modelled."""
    try:
        config = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise NotFound(f"no {path}; give a model folder with config.json, or a name") from None
    except (OSError, ValueError) as error:
        raise BadInput(f"cannot read {path} as JSON: {error}") from None
    if not isinstance(config, dict):
        raise BadInput(f"{path} is no JSON object")
    return from_config(config, name=path.parent.name or path.stem, what=str(path))


def from_config(config: Mapping[str, Any], *, name: str, what: str = "config.json") -> Transformer:
    """The shape that a Hugging Face config describes."""
    inner = config.get("text_config")
    if isinstance(inner, Mapping):
        config = {**inner, "model_type": inner.get("model_type", config.get("model_type"))}
    family = str(config.get("model_type", ""))
    reader = _READERS.get(family)
    if reader is None:
        known = ", ".join(_READERS)
        raise BadInput(f'{what}: models of family "{family}" are not modelled; modelled are {known}', param="model")
    try:
        return reader(config, name)
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise BadInput(f"{what} lacks or spoils {error}; is it a decoder-only model?", param="model") from None


def _stack(config: Mapping[str, Any], name: str, **more: Any) -> Transformer:
    return Transformer(
        name=name,
        layers=_count(config, "num_hidden_layers"),
        hidden=_count(config, "hidden_size"),
        vocabulary=_count(config, "vocab_size"),
        context=int(config.get("max_position_embeddings") or 0),
        tied_embeddings=bool(config.get("tie_word_embeddings", str(config["model_type"]).startswith("gemma"))),
        **{
            "attention": _attention(config),
            "ffn": int(config.get("intermediate_size") or 0),
            **_windows(config),
            **more,
        },
    )


def _windows(config: Mapping[str, Any]) -> dict[str, Any]:
    """Blocks that look back no further than the window, where the config lists its layers' kinds."""
    kinds = list(config.get("layer_types") or ())
    return {"windowed_blocks": kinds.count("sliding_attention")} if "sliding_attention" in kinds else {}


def _count(config: Mapping[str, Any], key: str) -> int:
    value = int(config[key])
    if value < 1:
        raise ValueError(f"{key} {value}")
    return value


def _attention(config: Mapping[str, Any]) -> Attention:
    heads, hidden = _count(config, "num_attention_heads"), _count(config, "hidden_size")
    if config.get("kv_lora_rank"):
        return Attention(
            heads, heads, int(config["qk_nope_head_dim"]), rope_dim=int(config["qk_rope_head_dim"]),
            value_dim=int(config["v_head_dim"]), q_rank=int(config.get("q_lora_rank") or 0),
            kv_rank=int(config["kv_lora_rank"]),
        )  # fmt: skip
    keys = int(config.get("num_key_value_heads") or heads)
    window = int(config.get("sliding_window") or 0) if _windows(config) else 0
    gated = bool(config.get("attn_output_gate", str(config.get("model_type")) in _GATED_DELTA))
    return Attention(heads, keys, int(config.get("head_dim") or hidden // heads), window=window, gated=gated)


def _gated(config: Mapping[str, Any], name: str) -> Transformer:
    return _stack(config, name)


def _plain(config: Mapping[str, Any], name: str) -> Transformer:
    return _stack(config, name, gated=False)


def _gpt2(config: Mapping[str, Any], name: str) -> Transformer:
    hidden, heads = _count(config, "n_embd"), _count(config, "n_head")
    return Transformer(
        name, _count(config, "n_layer"), hidden, _count(config, "vocab_size"),
        Attention(heads, heads, hidden // heads), ffn=int(config.get("n_inner") or 4 * hidden), gated=False,
        tied_embeddings=True, learned_positions=True, context=int(config.get("n_positions") or 0),
    )  # fmt: skip


def _mpt(config: Mapping[str, Any], name: str) -> Transformer:
    hidden, heads = _count(config, "d_model"), _count(config, "n_heads")
    ffn = round(float(config.get("expansion_ratio", 4)) * hidden)
    return Transformer(
        name, _count(config, "n_layers"), hidden, _count(config, "vocab_size"),
        Attention(heads, heads, hidden // heads), ffn=ffn, gated=False, tied_embeddings=True,
        learned_positions=True, context=int(config.get("max_seq_len") or 0),
    )  # fmt: skip


def _mixture(config: Mapping[str, Any], name: str) -> Transformer:
    """Mixtral, Qwen MoE, gpt-oss: every layer has experts, or every n-th."""
    count = int(config.get("num_local_experts") or config["num_experts"])
    width = int(config.get("moe_intermediate_size") or config["intermediate_size"])
    layers, every = _count(config, "num_hidden_layers"), int(config.get("decoder_sparse_step") or 1)
    experts = Experts(
        count, int(config["num_experts_per_tok"]), width, int(config.get("shared_expert_intermediate_size") or 0)
    )
    return _stack(config, name, experts=experts, expert_blocks=layers // every)


def _gated_delta(config: Mapping[str, Any], name: str) -> Transformer:
    """Qwen3-Next and Qwen3.5: linear attention in all layers but every fourth or so, with or without experts."""
    layers = _count(config, "num_hidden_layers")
    kinds = list(config.get("layer_types") or ())
    full = kinds.count("full_attention") or layers // int(config.get("full_attention_interval") or 4)
    linear = LinearAttention(
        _count(config, "linear_num_key_heads"), _count(config, "linear_num_value_heads"),
        _count(config, "linear_key_head_dim"), _count(config, "linear_value_head_dim"),
    )  # fmt: skip
    more = {"attention_blocks": full, "linear": linear, "linear_blocks": layers - full}
    if not config.get("num_experts"):
        return _stack(config, name, **more)
    shared = int(config.get("shared_expert_intermediate_size") or 0)
    experts = Experts(
        int(config["num_experts"]), int(config["num_experts_per_tok"]), int(config["moe_intermediate_size"]), shared
    )
    return _stack(config, name, experts=experts, expert_blocks=layers, **more)


def _deepseek(config: Mapping[str, Any], name: str) -> Transformer:
    width, layers = int(config["moe_intermediate_size"]), _count(config, "num_hidden_layers")
    shared = width * int(config.get("n_shared_experts") or 0)
    experts = Experts(int(config["n_routed_experts"]), int(config["num_experts_per_tok"]), width, shared)
    dense = int(config.get("first_k_dense_replace") or 0)
    extra = int(config.get("num_nextn_predict_layers") or 0)
    return _stack(config, name, experts=experts, expert_blocks=layers - dense, extra_predictions=extra)


def _nemotron(config: Mapping[str, Any], name: str) -> Transformer:
    """A hybrid: one letter a block: M Mamba, E experts, * attention, - dense."""
    pattern = str(config["hybrid_override_pattern"])
    experts = None
    if "E" in pattern:
        shared = int(config.get("moe_shared_expert_intermediate_size") or 0)
        experts = Experts(
            int(config["n_routed_experts"]), int(config["num_experts_per_tok"]),
            int(config["moe_intermediate_size"]),
            shared * int(config.get("n_shared_experts") or 1), int(config.get("moe_latent_size") or 0),
        )  # fmt: skip
    mamba = Mamba(
        int(config["mamba_num_heads"]), int(config["mamba_head_dim"]), int(config["ssm_state_size"]),
        int(config.get("n_groups") or 8), int(config.get("chunk_size") or 128),
    )  # fmt: skip
    return _stack(
        config, name, gated=False, experts=experts, expert_blocks=pattern.count("E"), mamba=mamba,
        mamba_blocks=pattern.count("M"), attention_blocks=pattern.count("*"), dense_blocks=pattern.count("-"),
        extra_predictions=int(config.get("num_nextn_predict_layers") or 0),
    )  # fmt: skip


_READERS: Mapping[str, Callable[[Mapping[str, Any], str], Transformer]] = {
    **dict.fromkeys(_GATED, _gated),
    **dict.fromkeys(_PLAIN, _plain),
    **dict.fromkeys(("mixtral", "qwen2_moe", "qwen3_moe", "gpt_oss", "minimax_m2"), _mixture),
    **dict.fromkeys(_GATED_DELTA, _gated_delta),
    **dict.fromkeys(("deepseek_v2", "deepseek_v3", "kimi_k2", "glm4_moe"), _deepseek),
    "nemotron_h": _nemotron,
    "gpt2": _gpt2,
    "mpt": _mpt,
}
