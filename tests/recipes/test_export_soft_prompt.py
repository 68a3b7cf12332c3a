"""A soft prompt becomes tokens: served like the tuned model, and never answered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("xllamacpp")

from stoker.recipes.export_base import open_base
from stoker.recipes.soft_prompt import token_names, with_prompt_rows
from tests.recipes.test_export import exported, verified
from tests.recipes.tiny_models import disturb, make_model, make_tokenizer, save_base, save_probes, save_training
from tests.recipes.tiny_services import KEY, run_recipe, serving

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
VIRTUAL = 5


def trained_prompt(family: str, tmp_path: Path, **options: Any) -> tuple[Path, Path, Any, Any]:
    """Base, training artifact, tuned model, tokenizer."""
    from peft import PromptEncoderConfig, TaskType, get_peft_model

    tokenizer = make_tokenizer()
    model = make_model(family, 400, **options)
    base = save_base(tmp_path / "base", model, tokenizer)
    config = PromptEncoderConfig(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=VIRTUAL, encoder_hidden_size=32)
    tuned = get_peft_model(model, config).eval()
    disturb(tuned, 0.5)
    return base, save_training(tmp_path / "train", "ptuning", tuned), tuned, tokenizer


@pytest.mark.parametrize(("family", "tied"), [("llama", True), ("llama", False), ("qwen2", True)])
def test_a_soft_prompt_is_served_as_trained(family: str, tied: bool, tmp_path: Path) -> None:
    base, train, tuned, tokenizer = trained_prompt(family, tmp_path, tie_word_embeddings=tied)
    model = exported(tmp_path, base, train, type="f32")
    result = verified(tmp_path, model, save_probes(tmp_path / "evaluate", tuned, tokenizer))
    assert result["agreeing"] == result["probes"]
    assert result["mean_kl"] < 1e-4


def test_the_new_tokens_are_never_answered(tmp_path: Path) -> None:
    """Neither in the wildest sampling, nor when a request itself asks for them."""
    base, train, _, _ = trained_prompt("llama", tmp_path, tie_word_embeddings=True)
    model = exported(tmp_path, base, train, type="f32")
    new = list(range(400, 400 + VIRTUAL))
    wild = {"temperature": 50.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "ignore_eos": True, "max_tokens": 200}
    config = {"model": str(model), "alias": "tiny", "context": 256, "slots": 1}
    with (
        serving("serve_llama", tmp_path, config) as url,
        httpx.Client(headers={"Authorization": f"Bearer {KEY}"}) as web,
    ):
        for bias in ([], [[token, 100.0] for token in new]):
            asked = {
                "prompt": "Why?",
                "n_predict": 200,
                "return_tokens": True,
                "logit_bias": bias,
                "seed": 3,
                **wild,
            }
            said = web.post(f"{url}/completion", json=asked, timeout=60).json()["tokens"]
            assert len(said) == 200
            assert not set(said) & set(new)


def test_an_engine_that_samples_everything_finds_them_least_likely(tmp_path: Path) -> None:
    """The bound that needs no engine's help: each new token's logit is the mean logit, p <= 1 / vocabulary."""
    base = save_base(tmp_path, make_model("llama", 400, tie_word_embeddings=True), make_tokenizer())
    opened = open_base(base)
    rows = with_prompt_rows(opened, np.zeros((VIRTUAL, 64), np.float32)).read("lm_head.weight")
    states = np.random.default_rng(0).normal(size=(1000, 64)).astype(np.float32) * 10
    logits = states @ rows.T
    assert (logits[:, 400:].max(axis=1) < logits[:, :400].max(axis=1)).all()
    np.testing.assert_allclose(logits[:, 400], logits[:, :400].mean(axis=1), atol=1e-3)


def test_what_cannot_be_untied_goes_to_torch(tmp_path: Path) -> None:
    base, train, _, _ = trained_prompt("gemma", tmp_path, head_dim=32)
    model = exported(tmp_path, base, train)
    result = json.loads((model / "result.json").read_text())
    assert result["engine"] == "torch"
    assert "ties" in result["reason"]
    assert result["base"] == str(base)
    refused = run_recipe("export", tmp_path / "again", {"engine": "llama.cpp"}, base=base, train=train)
    assert refused.returncode == 2
    assert "serve it with torch" in refused.stderr


def test_a_prompt_of_another_width_is_refused(tmp_path: Path) -> None:
    _, train, _, _ = trained_prompt("llama", tmp_path)
    other = save_base(tmp_path / "other", make_model("llama", 400, hidden_size=32), make_tokenizer())
    refused = run_recipe("export", tmp_path, {}, base=other, train=train)
    assert refused.returncode == 2
    assert "64 wide, the base 32" in refused.stderr


def test_token_names_differ() -> None:
    assert len(set(token_names(100))) == 100
