"""Text becomes the same tokens in llama.cpp as in the tokenizer the model was trained with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

pytest.importorskip("torch")
pytest.importorskip("xllamacpp")

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, processors, trainers
from tokenizers import pre_tokenizers as pre
from transformers import PreTrainedTokenizerFast

from stoker.errors import Unfit
from stoker.recipes import hf_vocabulary
from stoker.recipes.export_base import open_base
from stoker.recipes.gguf_vocabulary import of_fields
from tests.recipes.test_export import exported
from tests.recipes.tiny_models import TEMPLATE, make_model, make_tokenizer, save_base, save_training
from tests.recipes.tiny_services import KEY, serving

TEXTS = [
    "the gpu is hot",
    "  two spaces, then\ttab\n\n  and lines  ",
    "it's 12345 or 3.14159, don't?",
    "链路为什么断了？光模块 42℃",
    "<|im_start|>user\nmixed 中英 text<|im_end|>\n",
    "naïve café — “quotes” … 🚀🚀",
    "CamelCase_and-dashes/paths C:\\x",
]
DIGITS = pre.Sequence([pre.Digits(individual_digits=True), pre.ByteLevel(add_prefix_space=False)])
LLAMA_3, QWEN_2 = hf_vocabulary._SPLITS


def byte_level(*before: pre.PreTokenizer) -> PreTrainedTokenizerFast:
    return make_tokenizer(pre.Sequence([*before, pre.ByteLevel(add_prefix_space=False, use_regex=False)]))


def split(regex: str) -> pre.PreTokenizer:
    return pre.Split(Regex(regex), behavior="isolated")


def sentencepiece() -> PreTrainedTokenizerFast:
    """As Llama 2's: BPE over whole text with byte fallback, a space in front, the beginning marked."""
    special = ["<unk>", "<s>", "</s>"]
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.pre_tokenizer = pre.Metaspace()
    names = [*special, *[f"<0x{byte:02X}>" for byte in range(256)]]
    trainer = trainers.BpeTrainer(vocab_size=390, special_tokens=names, show_progress=False)
    tokenizer.train_from_iterator(
        ["the gpu is hot", "two spaces and lines", "it's mixed text or paths"] * 4, trainer
    )
    described = json.loads(tokenizer.to_str())
    described["added_tokens"] = [token for token in described["added_tokens"] if token["content"] in special]
    described["pre_tokenizer"] = None
    tokenizer = Tokenizer.from_str(json.dumps(described))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", "<s> $A $B", [("<s>", 1)])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>", chat_template=TEMPLATE
    )


CASES: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "gpt-2": make_tokenizer,
    "smollm": lambda: make_tokenizer(DIGITS),
    "llama 3": lambda: byte_level(split(LLAMA_3)),
    "qwen 2": lambda: byte_level(split(QWEN_2)),
    "sentencepiece": sentencepiece,
}


@pytest.mark.parametrize("case", CASES)
def test_llama_cpp_reads_the_same_tokens(case: str, tmp_path: Path) -> None:
    tokenizer = CASES[case]()
    model = make_model("llama", len(tokenizer), bos_token_id=1)
    base = save_base(tmp_path / "base", model, tokenizer)
    file = exported(tmp_path, base, save_training(tmp_path / "train", "full", model))
    headers = {"Authorization": f"Bearer {KEY}"}
    with serving("serve_llama", tmp_path, {"model": str(file), "alias": "x"}) as url:
        for text in TEXTS:
            asked = {"content": text, "add_special": True, "parse_special": True}
            read = httpx.post(f"{url}/tokenize", json=asked, headers=headers).json()["tokens"]
            assert read == tokenizer.encode(text), text


def test_an_unknown_pre_tokenizer_is_named(tmp_path: Path) -> None:
    base = save_base(tmp_path, make_model("llama", 400), byte_level(split(r"\d")))
    with pytest.raises(Unfit, match=r"knows no such pre-tokenizer.*gpt-2, smollm, llama-bpe, qwen2"):
        open_base(base)


def test_a_gguf_base_keeps_its_vocabulary(tmp_path: Path) -> None:
    """Everything about the tokenizer, whatever it is, is what it was."""
    tokenizer = make_tokenizer()
    model = make_model("llama", 400)
    base = save_base(tmp_path / "base", model, tokenizer)
    train = save_training(tmp_path / "train", "full", model)
    first = exported(tmp_path / "first", base, train) / "model.gguf"
    second = exported(tmp_path / "second", first, train, type="q8_0") / "model.gguf"
    before, after = open_base(first), open_base(second)
    assert after.vocabulary == before.vocabulary
    assert after.fields == before.fields
    assert of_fields(before.vocabulary.fields()) == before.vocabulary
    assert before.vocabulary.template == TEMPLATE
    assert before.vocabulary.tokens[-1].startswith("[PAD")


def test_a_tokenizer_larger_than_the_model_is_refused(tmp_path: Path) -> None:
    base = save_base(tmp_path, make_model("llama", 300), make_tokenizer())
    with pytest.raises(Unfit, match="the model only 300 embeddings"):
        open_base(base)
