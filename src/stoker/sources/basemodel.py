"""What a base model on disk is: a Hugging Face folder or a GGUF file. No torch: the platform asks too."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stoker.errors import BadInput, NotFound
from stoker.model import Architecture
from stoker.sources import gguf

SUPPORTED = ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "phi3", "granite", "smollm3", "mixtral")
_PLAIN_FFN = ("gpt2", "gptj", "phi")
_INDEX = "model.safetensors.index.json"


def architecture(path: Path) -> Architecture:
    """The numbers of the model at `path`. Raises NotFound, or BadInput for a half-written or unknown one."""
    if path.is_dir():
        return _of_folder(path)
    if not path.exists():
        raise NotFound(f"no base model at {path}; --base takes a Hugging Face folder or a .gguf file")
    return _of_gguf(path)


def digest(path: Path) -> str:
    """sha256 over the content of the model, for lineage; a folder counts its names and files in order."""
    total = hashlib.sha256()
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    for file in (item for item in files if item.is_file()):
        total.update(file.name.encode() + b"\0")
        with file.open("rb") as content:
            total.update(hashlib.file_digest(content, "sha256").digest())
    return total.hexdigest()


def _of_folder(path: Path) -> Architecture:
    config = _config(path)
    _check_weights(path)
    try:
        return _from_config(config)
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{path / 'config.json'} lacks or spoils {error}; is it a decoder-only model?") from None


def _config(path: Path) -> Mapping[str, Any]:
    file = path / "config.json"
    if not file.exists():
        raise BadInput(f"{path} has no config.json; --base takes a Hugging Face folder or a .gguf file")
    return _json(file)


def _json(file: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise BadInput(f"cannot read {file}: {error}") from None
    if not isinstance(content, dict):
        raise BadInput(f"{file} is no JSON object")
    return content


def _from_config(config: Mapping[str, Any]) -> Architecture:
    family = _supported(str(config.get("model_type", "")))
    heads, hidden = int(config["num_attention_heads"]), int(config["hidden_size"])
    return Architecture(
        family=family,
        layers=int(config["num_hidden_layers"]),
        hidden=hidden,
        heads=heads,
        kv_heads=int(config.get("num_key_value_heads") or heads),
        head_dim=int(config.get("head_dim") or hidden // heads),
        ffn=int(config["intermediate_size"]),
        vocabulary=int(config["vocab_size"]),
        context=int(config["max_position_embeddings"]),
        tied_embeddings=bool(config.get("tie_word_embeddings", family.startswith("gemma"))),
        gated_ffn=family not in _PLAIN_FFN,
        experts=int(config.get("num_local_experts") or config.get("num_experts") or 0),
        experts_per_token=int(config.get("num_experts_per_tok") or 0),
    )


def _supported(family: str) -> str:
    if family not in SUPPORTED:
        raise BadInput(f'models of family "{family}" are not supported; supported are {", ".join(SUPPORTED)}')
    return family


def _check_weights(path: Path) -> None:
    """A download that stopped half-way is found here and not an hour into a job."""
    if not any((path / name).exists() for name in ("tokenizer.json", "tokenizer.model", "vocab.json")):
        raise BadInput(f"{path} has no tokenizer.json, tokenizer.model or vocab.json; copy the whole folder")
    index = path / _INDEX
    if index.exists():
        parts = sorted(set(_json(index).get("weight_map", {}).values()))
    else:
        parts = [file.name for file in path.glob("*.safetensors")]
    if not parts:
        raise BadInput(f"{path} has no *.safetensors weights (pickled .bin weights are not loaded)")
    for part in parts:
        _check_safetensors(path / part)


def _check_safetensors(path: Path) -> None:
    """The header of a safetensors file says how long the file must be."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            entries = json.loads(file.read(length))
        ends = [entry["data_offsets"][1] for name, entry in entries.items() if name != "__metadata__"]
        missing = 8 + length + max(ends, default=0) - path.stat().st_size
    except FileNotFoundError:
        raise BadInput(f"{path} is missing though the index names it; copy the whole folder") from None
    except (OSError, ValueError, KeyError, TypeError, struct.error, MemoryError):
        raise BadInput(f"{path} is no complete safetensors file; copy it again") from None
    if missing > 0:
        raise BadInput(f"{path} lacks its last {missing:,} bytes; copy it again")


def _of_gguf(path: Path) -> Architecture:
    header = gguf.header(path)
    try:
        return _from_header(header)
    except KeyError as error:
        raise BadInput(f"{path} lacks the metadata {error}; is it a language model?") from None


def _from_header(header: gguf.Header) -> Architecture:
    metadata = header.metadata
    family = _supported(str(metadata["general.architecture"]))

    def number(key: str, default: int | None = None) -> int:
        value = metadata.get(f"{family}.{key}", default)
        if value is None:
            raise KeyError(f"{family}.{key}")
        return int(value)

    heads, hidden = number("attention.head_count"), number("embedding_length")
    names = {tensor.name for tensor in header.tensors}
    return Architecture(
        family=family,
        layers=number("block_count"),
        hidden=hidden,
        heads=heads,
        kv_heads=number("attention.head_count_kv", heads),
        head_dim=number("attention.key_length", hidden // heads),
        ffn=number("feed_forward_length"),
        vocabulary=len(metadata["tokenizer.ggml.tokens"]),
        context=number("context_length"),
        tied_embeddings="output.weight" not in names,
        experts=number("expert_count", 0),
        experts_per_token=number("expert_used_count", 0),
    )
