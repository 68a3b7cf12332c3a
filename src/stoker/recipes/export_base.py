"""Open a base model for export: a Hugging Face folder or a GGUF file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gguf import GGUFReader

from stoker.errors import BadInput
from stoker.recipes.base_tensors import FolderTensors, GgufTensors, Tensors, as_float32
from stoker.recipes.gguf_families import Family, Matrix, family_of_gguf, family_of_hf, numbers_of_hf, rope_factors
from stoker.recipes.gguf_fields import Field, field, fields, read_fields
from stoker.recipes.gguf_vocabulary import Vocabulary, of_fields
from stoker.recipes.hf_vocabulary import read_vocabulary
from stoker.sources.gguf import is_gguf

_ROPE_FACTORS = "rope_freqs.weight"
_REWRITTEN = {"general.architecture", "general.file_type", "general.quantization_version"}


@dataclass(frozen=True)
class Base:
    family: Family
    fields: Mapping[str, Field]  # name, license, architecture numbers; without the vocabulary
    vocabulary: Vocabulary
    tensors: Tensors
    heads: int
    kv_heads: int
    extra: Mapping[str, Matrix]  # tensors only GGUF has


def open_base(path: Path) -> Base:
    """The base model at `path`; raises BadInput when it is neither form, Unfit when GGUF cannot hold it."""
    if path.is_dir():
        return _open_folder(path)
    if is_gguf(path):
        return _open_gguf(path)
    raise BadInput(f"{path} is no model; give a Hugging Face folder (config.json) or a .gguf file", param="base")


def _open_gguf(path: Path) -> Base:
    reader = GGUFReader(path)
    found = read_fields(reader)
    family = family_of_gguf(str(found["general.architecture"].value))
    prefix = family.architecture
    heads = int(found[f"{prefix}.attention.head_count"].value)
    kv_heads = int(found.get(f"{prefix}.attention.head_count_kv", field(heads)).value)
    return Base(
        family,
        {key: value for key, value in found.items() if not key.startswith("tokenizer.") and key not in _REWRITTEN},
        of_fields(found),
        GgufTensors(reader, family, heads, kv_heads),
        heads,
        kv_heads,
        {item.name: as_float32(item.data) for item in reader.tensors if item.name == _ROPE_FACTORS},
    )


def _open_folder(folder: Path) -> Base:
    config = _config(folder)
    family = family_of_hf(str(config.get("model_type", "")))
    numbers = numbers_of_hf(family, config)
    factors = rope_factors(config)
    tied = bool(config.get("tie_word_embeddings", family.always_tied))
    return Base(
        family,
        {
            "general.type": field("model"),
            "general.name": field(folder.name),
            **fields(numbers, f"{family.architecture}."),
        },
        read_vocabulary(folder, config),
        FolderTensors(folder, tied=tied),
        int(numbers["attention.head_count"]),
        int(numbers["attention.head_count_kv"]),
        {_ROPE_FACTORS: as_float32(factors)} if factors else {},
    )


def _config(folder: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text())
    except FileNotFoundError:
        raise BadInput(f"{folder} has no config.json; give a model folder or a .gguf file", param="base") from None
    return config
