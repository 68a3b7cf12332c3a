"""A GGUF file read by us is the model that transformers reads from it, and the tokenizer too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("gguf")

import torch

from stoker.errors import BadInput, NotFound
from stoker.recipes import export, gguf_model, loading
from stoker.recipes.stage import Stage
from stoker.sources import gguf
from tests.recipes.tiny_models import make_model, make_tokenizer, save_base, save_training

pytestmark = [pytest.mark.train, pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")]


def as_gguf(folder: Path, family: str, kind: str, **config: Any) -> Path:
    tokenizer = make_tokenizer()
    model = make_model(family, len(tokenizer), **config)
    base = save_base(folder / "base", model, tokenizer)
    train = save_training(folder / "train", "full", model)
    output = folder / "export"
    output.mkdir()
    export.run(Stage(export.Config(type=kind), {"base": base, "train": train}, output, folder))  # type: ignore[arg-type]
    return output / export.FILE


@pytest.mark.parametrize(
    ("family", "kind", "config"),
    [
        ("llama", "f16", {}),
        ("llama", "q8_0", {"tie_word_embeddings": True}),
        ("qwen2", "f16", {"tie_word_embeddings": True}),
        ("qwen3", "f16", {"head_dim": 128}),  # the one transformers assumes for GGUF
    ],
)
def test_ours_is_what_transformers_reads(
    family: str, kind: str, config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = as_gguf(tmp_path, family, kind, **config)
    assert gguf_model.is_plain(gguf.header(path))
    ours, our_words = loading.load_base(path, torch.float32), loading.load_tokenizer(path)
    monkeypatch.setattr(gguf_model, "is_plain", lambda _header: False)
    theirs = loading.load_base(path, torch.float32)
    words = "Why is  the GPU hot? 链路 100%<|im_end|>\n"
    ids = torch.tensor([our_words(words)["input_ids"]])
    with torch.no_grad():
        torch.testing.assert_close(ours(ids).logits, theirs(ids).logits)
    assert our_words.decode(ids[0]) == words
    assert ours.generation_config.eos_token_id == theirs.generation_config.eos_token_id


def test_scaled_rotations_are_left_to_transformers() -> None:
    scaled = gguf.Header({"general.architecture": "llama", "llama.rope.scaling.type": "yarn"}, (), 0)
    assert not gguf_model.is_plain(scaled)


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no base model at"):
        loading.load_base(tmp_path / "nowhere", torch.float32)
    (tmp_path / "words.txt").write_text("words and words and words and words")
    with pytest.raises(BadInput, match="no complete GGUF file"):
        loading.load_tokenizer(tmp_path / "words.txt")


def test_an_adapter_of_another_base_is_refused(tmp_path: Path) -> None:
    tokenizer = make_tokenizer()
    base = save_base(tmp_path / "base", make_model("llama", len(tokenizer)), tokenizer)
    (tmp_path / "train" / "adapter").mkdir(parents=True)
    (tmp_path / "train" / "result.json").write_text(json.dumps({"method": "bottleneck"}))
    config = {"peft_type": "STOKER_BOTTLENECK", "size": 4, "placement": "pfeiffer", "hidden": 32}
    (tmp_path / "train" / "adapter" / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(BadInput, match="trained on a model 32 wide, this one has 64"):
        loading.load_trained(base, tmp_path / "train", torch.float32)
