"""The vocabulary of a Hugging Face folder in GGUF's words.

Everything is taken from ``tokenizer.json`` (made by transformers where a folder has only ``tokenizer.model``):
byte-level BPE becomes GGUF's ``gpt2`` model, BPE with byte fallback becomes its ``llama`` (sentencepiece) model.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stoker.errors import BadInput, Unfit
from stoker.recipes.gguf_fields import Field, field
from stoker.recipes.gguf_vocabulary import TEMPLATE, TokenType, Vocabulary

_GPT2_SPLIT = "gpt-2"
# llama.cpp implements each pre-tokenizer by hand and calls it by name; a regex we do not find here has no name yet.
_LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_SPLITS = {_LLAMA_3: "llama-bpe", _LLAMA_3.replace("{1,3}", ""): "qwen2"}
_SPECIAL = {"bos": "bos_token", "eos": "eos_token", "unknown": "unk_token", "padding": "pad_token"}


def read_vocabulary(folder: Path, config: Mapping[str, Any]) -> Vocabulary:
    """The vocabulary in `folder`, as many tokens as ``vocab_size`` in `config` says."""
    tokenizer = _tokenizer(folder)
    settings = _settings(folder)
    model = tokenizer["model"]
    if model["type"] != "BPE":
        raise Unfit(
            f"cannot export a {model['type']} tokenizer to GGUF; there are: BPE; serve it with torch or vllm"
        )
    tokens = _tokens(tokenizer)
    types = [int(kind) for kind in _types(tokenizer, tokens)]
    others = _special_ids(settings, config, tokens) | _template(folder, settings)
    others["tokenizer.ggml.add_bos_token"] = field(_adds(tokenizer, settings, "bos_token"))
    if model.get("byte_fallback"):
        scores = _scores(model, tokens)
        others |= {
            "tokenizer.ggml.model": field("llama"),
            "tokenizer.ggml.pre": field("default"),
            "tokenizer.ggml.add_space_prefix": field(_adds_space(tokenizer)),
        }
        return Vocabulary(tokens, types, scores, others).padded(config["vocab_size"])
    others |= {
        "tokenizer.ggml.model": field("gpt2"),
        "tokenizer.ggml.pre": field(_split_name(tokenizer)),
        "tokenizer.ggml.merges": field([" ".join(pair) for pair in _merges(model)]),
    }
    return Vocabulary(tokens, types, [], others).padded(config["vocab_size"])


def _tokenizer(folder: Path) -> dict[str, Any]:
    path = folder / "tokenizer.json"
    if path.exists():
        text = path.read_text()
    elif (folder / "tokenizer.model").exists():
        from transformers import AutoTokenizer

        text = AutoTokenizer.from_pretrained(folder).backend_tokenizer.to_str()
    else:
        raise BadInput(f"{folder} has no tokenizer.json; save the tokenizer beside the model", param="base")
    parsed: dict[str, Any] = json.loads(text)
    return parsed


def _settings(folder: Path) -> dict[str, Any]:
    path = folder / "tokenizer_config.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def _tokens(tokenizer: Mapping[str, Any]) -> list[str]:
    by_id = {index: token for token, index in tokenizer["model"]["vocab"].items()}
    by_id |= {added["id"]: added["content"] for added in tokenizer["added_tokens"]}
    return [by_id.get(index, f"[PAD{index}]") for index in range(max(by_id) + 1)]


def _types(tokenizer: Mapping[str, Any], tokens: list[str]) -> Iterator[TokenType]:
    model = tokenizer["model"]
    added = {item["content"]: item for item in tokenizer["added_tokens"]}
    fallback = bool(model.get("byte_fallback"))
    for token in tokens:
        if fallback and token == model.get("unk_token"):
            yield TokenType.UNKNOWN
        elif token in added:
            yield TokenType.CONTROL if added[token]["special"] else TokenType.USER_DEFINED
        elif token not in model["vocab"]:
            yield TokenType.UNUSED
        else:
            yield TokenType.BYTE if fallback and _is_byte(token) else TokenType.NORMAL


def _is_byte(token: str) -> bool:
    return len(token) == 6 and token.startswith("<0x") and token.endswith(">")


def _merges(model: Mapping[str, Any]) -> Iterator[list[str]]:
    for pair in model["merges"]:
        yield pair.split(" ") if isinstance(pair, str) else pair


def _scores(model: Mapping[str, Any], tokens: list[str]) -> list[float]:
    """Sentencepiece joins the pair whose result scores best; BPE the pair of lowest rank: score = -rank."""
    rank: dict[str, int] = {}
    for index, (left, right) in enumerate(_merges(model)):
        rank.setdefault(left + right, index)
    return [-float(rank[token]) if token in rank else -1e6 for token in tokens]


def _split_name(tokenizer: Mapping[str, Any]) -> str:
    """The name llama.cpp gives to how text is cut before byte-level BPE."""
    steps = _steps(tokenizer.get("pre_tokenizer"))
    kinds = [step["type"] for step in steps]
    if kinds == ["ByteLevel"] and steps[0].get("use_regex", True):
        return _GPT2_SPLIT
    if kinds == ["Digits", "ByteLevel"] and steps[0]["individual_digits"] and steps[1].get("use_regex", True):
        return "smollm"
    if kinds == ["Split", "ByteLevel"] and not steps[1].get("use_regex", True):
        regex = steps[0]["pattern"].get("Regex", "")
        if regex in _SPLITS:
            return _SPLITS[regex]
    known = ", ".join([_GPT2_SPLIT, "smollm", *_SPLITS.values()])
    raise Unfit(f"llama.cpp knows no such pre-tokenizer: {'+'.join(kinds)}; there are: {known}; serve it with vllm")


def _steps(part: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """The parts of a normalizer, pre-tokenizer or post-processor, which may be a sequence of them."""
    if part is None:
        return []
    if part["type"] != "Sequence":
        return [dict(part)]
    nested = (part.get(key) for key in ("pretokenizers", "normalizers", "processors"))
    return next((list(steps) for steps in nested if steps), [])


def _adds_space(tokenizer: Mapping[str, Any]) -> bool:
    steps = _steps(tokenizer.get("normalizer")) + _steps(tokenizer.get("pre_tokenizer"))
    return any(step["type"] == "Prepend" or step.get("prepend_scheme") in ("first", "always") for step in steps)


def _adds(tokenizer: Mapping[str, Any], settings: Mapping[str, Any], name: str) -> bool:
    """Whether the tokenizer itself puts the special token `name` first."""
    token = _content(settings.get(name))
    for step in _steps(tokenizer.get("post_processor")):
        if step["type"] == "TemplateProcessing":
            first = step["single"][0]
            return bool(first.get("SpecialToken", {}).get("id") == token)
    return bool(settings.get(f"add_{name}", False)) and not tokenizer.get("post_processor")


def _special_ids(settings: Mapping[str, Any], config: Mapping[str, Any], tokens: list[str]) -> dict[str, Field]:
    index = {token: position for position, token in enumerate(tokens)}
    found = {}
    for gguf, name in _SPECIAL.items():
        given = index.get(_content(settings.get(name)), config.get(f"{name}_id"))
        if isinstance(given, list):  # several ends of sequence: the tokenizer's own, or the first
            given = given[0]
        if given is not None:
            found[f"tokenizer.ggml.{gguf}_token_id"] = field(int(given))
    return found


def _content(token: Any) -> str:
    return str(token["content"]) if isinstance(token, Mapping) else str(token)


def _template(folder: Path, settings: Mapping[str, Any]) -> dict[str, Field]:
    path = folder / "chat_template.jinja"
    given = path.read_text() if path.exists() else settings.get("chat_template")
    if isinstance(given, list):  # named templates
        given = next((item["template"] for item in given if item["name"] == "default"), given[0]["template"])
    return {TEMPLATE: field(given)} if given else {}
