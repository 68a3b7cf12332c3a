"""Every family and method, exported and really served by llama.cpp, answers like the torch model it came from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("xllamacpp")

from stoker.recipes.export_base import open_base
from stoker.recipes.merge import Merged
from tests.recipes.tiny_models import disturb, make_model, make_tokenizer, save_base, save_probes, save_training
from tests.recipes.tiny_services import run_recipe, serving

# transformers warns about its own use of its old name
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")

_LLAMA_3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
_GEMMA = {"head_dim": 32, "initializer_range": 0.15}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {"tie_word_embeddings": True}),
    "llama untied": ("llama", {}),
    "llama with biases": ("llama", {"attention_bias": True}),
    "llama 3.1": ("llama", {"rope_parameters": _LLAMA_3_ROPE}),
    "mistral": ("mistral", {"sliding_window": None, "head_dim": 16}),
    "qwen2": ("qwen2", {}),
    "qwen3": ("qwen3", {"head_dim": 32}),
    "gemma": ("gemma", _GEMMA),
    "gemma2": ("gemma2", {**_GEMMA, "query_pre_attn_scalar": 32}),
}


def verified(folder: Path, model: Path, probes: Path) -> dict[str, Any]:
    """Serve `model` with llama.cpp and hold it against `probes`."""
    with serving("serve_llama", folder, {"model": str(model), "alias": "tiny", "context": 256}) as url:
        done = run_recipe("verify", folder, {"url": url, "model": "tiny"}, evaluate=probes)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads((folder / "verify" / "result.json").read_text())
    return result


def exported(folder: Path, base: Path, train: Path, **config: Any) -> Path:
    done = run_recipe("export", folder, config, base=base, train=train)
    assert done.returncode == 0, done.stderr
    return folder / "export"


@pytest.mark.parametrize("case", CASES)
def test_each_family_is_served_as_trained(case: str, tmp_path: Path) -> None:
    family, options = CASES[case]
    tokenizer = make_tokenizer()
    vocabulary = len(tokenizer) + 8  # padded, as many models are
    base = save_base(tmp_path / "base", make_model(family, vocabulary, seed=1, **options), tokenizer)
    trained = make_model(family, vocabulary, seed=2, **options)
    train = save_training(tmp_path / "train", "full", trained)
    model = exported(tmp_path, base, train, type="f32")
    result = verified(tmp_path, model, save_probes(tmp_path / "evaluate", trained, tokenizer))
    assert result["agreeing"] == result["probes"]
    assert result["mean_kl"] < 1e-4


_TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
ADAPTERS: dict[str, tuple[str, dict[str, Any]]] = {
    "lora": ("lora", {"r": 4, "lora_alpha": 8, "target_modules": "all-linear"}),
    "rank-stabilised": ("lora", {"r": 4, "lora_alpha": 8, "target_modules": _TARGETS, "use_rslora": True}),
    "dora": ("lora", {"r": 4, "lora_alpha": 8, "target_modules": _TARGETS, "use_dora": True}),
    "own ranks": ("lora", {"r": 4, "target_modules": _TARGETS, "rank_pattern": {"k_proj": 2}}),
    "own alphas": ("lora", {"r": 4, "target_modules": _TARGETS, "alpha_pattern": {"v_proj": 32}}),
    "saved output": ("lora", {"r": 4, "target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}),
    "biases": ("lora", {"r": 4, "target_modules": ["q_proj"], "bias": "lora_only"}),
    "ia3": ("ia3", {"target_modules": ["k_proj", "v_proj", "down_proj"], "feedforward_modules": ["down_proj"]}),
}  # fmt: skip


@pytest.mark.parametrize("case", ADAPTERS)
def test_an_adapter_is_merged_as_peft_merges_it(case: str, tmp_path: Path) -> None:
    from peft import IA3Config, LoraConfig, get_peft_model

    method, options = ADAPTERS[case]
    base = save_base(tmp_path / "base", make_model("llama", 400, attention_bias=True), make_tokenizer())
    config = IA3Config(**options) if method == "ia3" else LoraConfig(**options)
    tuned = get_peft_model(make_model("llama", 400, attention_bias=True), config)
    disturb(tuned)
    train = save_training(tmp_path / "train", method, tuned)
    merged = Merged(open_base(base).tensors, train / "adapter")
    due = tuned.merge_and_unload().state_dict()
    assert set(merged.names()) == set(due)
    for name, value in due.items():
        np.testing.assert_allclose(merged.read(name), value.numpy(), atol=2e-6, err_msg=name)
