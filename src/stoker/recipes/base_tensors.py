"""The weights of a base model, read one tensor at a time, by Hugging Face's names and layout, as float32.

Whether they lie in safetensors or in a (quantised) GGUF file does not show. Only one tensor is in memory at a time,
so a model is exported in the memory of its embedding.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from gguf import GGUFReader, quants

from stoker.errors import BadInput
from stoker.recipes.gguf_families import Family, Matrix

if TYPE_CHECKING:
    from gguf import ReaderTensor

EMBEDDING, OUTPUT = "model.embed_tokens.weight", "lm_head.weight"


class Tensors(Protocol):
    def names(self) -> Iterable[str]:
        """Hugging Face's names, in the order they are to be written."""

    def shape(self, name: str) -> tuple[int, ...]: ...

    def read(self, name: str) -> Matrix: ...


class GgufTensors:
    """Tensors of a GGUF file, dequantised."""

    def __init__(self, reader: GGUFReader, family: Family, heads: int, kv_heads: int) -> None:
        self._family, self._heads, self._kv_heads = family, heads, kv_heads
        by_name = ((family.hf_name(tensor.name), tensor) for tensor in reader.tensors)
        self._tensors: dict[str, ReaderTensor] = {name: tensor for name, tensor in by_name if name}

    def names(self) -> Iterable[str]:
        return self._tensors

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(int(size) for size in reversed(self._tensors[name].shape))

    def read(self, name: str) -> Matrix:
        stored = self._tensors[name]
        value = quants.dequantize(stored.data, stored.tensor_type).reshape(self.shape(name))
        return self._family.to_hf(name, value, self._heads, self._kv_heads)


class FolderTensors:
    """Tensors of a Hugging Face folder (``model.safetensors``, or shards with an index)."""

    def __init__(self, folder: Path, *, tied: bool) -> None:
        from safetensors import safe_open

        self._files: dict[str, Any] = {}
        for shard in _shards(folder):
            opened: Any = safe_open(shard, framework="pt")  # NumPy knows no bfloat16
            self._files.update(dict.fromkeys(opened.keys(), opened))
        for name in [name for name in self._files if name.endswith(".inv_freq") or (tied and name == OUTPUT)]:
            del self._files[name]  # computed from the configuration, or the embedding once more

    def names(self) -> Iterable[str]:
        return self._files

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._files[name].get_slice(name).get_shape())

    def read(self, name: str) -> Matrix:
        value: Matrix = self._files[name].get_tensor(name).float().numpy()
        return value


class Overlaid:
    """Tensors of `base`, some computed anew: `changed` maps names to shape and value. New names come last."""

    def __init__(self, base: Tensors, changed: Mapping[str, Matrix]) -> None:
        self._base, self._changed = base, changed

    def names(self) -> Iterable[str]:
        return dict.fromkeys([*self._base.names(), *self._changed])

    def shape(self, name: str) -> tuple[int, ...]:
        return self._changed[name].shape if name in self._changed else self._base.shape(name)

    def read(self, name: str) -> Matrix:
        return self._changed[name] if name in self._changed else self._base.read(name)


def _shards(folder: Path) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    if index.exists():
        return [folder / name for name in sorted(set(json.loads(index.read_text())["weight_map"].values()))]
    if not (whole := folder / "model.safetensors").exists():
        raise BadInput(f"{folder} has no model.safetensors; save the model with safe_serialization=True")
    return [whole]


def as_float32(value: Any) -> Matrix:
    return np.ascontiguousarray(value, dtype=np.float32)
