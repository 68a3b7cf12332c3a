"""config.json of models that mix kinds of attention."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stoker.errors import BadInput
from stoker.perf.models import transformer
from stoker.sources.transformer_config import from_config

QWEN = {
    "model_type": "qwen3_5_moe",
    "text_config": {
        "model_type": "qwen3_5_moe_text", "num_hidden_layers": 60, "hidden_size": 4096, "vocab_size": 248320,
        "num_attention_heads": 32, "num_key_value_heads": 2, "head_dim": 256, "full_attention_interval": 4,
        "linear_num_key_heads": 16, "linear_num_value_heads": 64, "linear_key_head_dim": 128,
        "linear_value_head_dim": 128, "num_experts": 512, "num_experts_per_tok": 10, "moe_intermediate_size": 1024,
        "shared_expert_intermediate_size": 1024, "max_position_embeddings": 262144,
    },
}  # fmt: skip
GPT_OSS = {
    "model_type": "gpt_oss", "num_hidden_layers": 36, "hidden_size": 2880, "vocab_size": 201088, "head_dim": 64,
    "num_attention_heads": 64, "num_key_value_heads": 8, "num_local_experts": 128, "num_experts_per_tok": 4,
    "intermediate_size": 2880, "sliding_window": 128, "layer_types": ["sliding_attention", "full_attention"] * 18,
}  # fmt: skip


def test_linear_attention_is_read_as_the_catalogue_has_it() -> None:
    read, known = from_config(QWEN, name="q"), transformer("qwen3.5-397b-a17b")
    assert (read.attention, read.linear, read.experts) == (known.attention, known.linear, known.experts)
    assert (read.attention_blocks, read.linear_blocks, read.dense_blocks) == (15, 45, 0)
    assert replace(known, extra_predictions=0).parameters == read.parameters


def test_windows_are_read_where_layers_are_listed() -> None:
    read, known = from_config(GPT_OSS, name="g"), transformer("gpt-oss-120b")
    assert (read.attention, read.windowed_blocks) == (known.attention, known.windowed_blocks)
    assert read.parameters == known.parameters


def test_what_lacks_a_number_is_told() -> None:
    config = {"model_type": "qwen3_next", "num_hidden_layers": 4}
    with pytest.raises(BadInput, match="linear_num_key_heads"):
        from_config(config, name="q")
