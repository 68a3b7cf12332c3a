"""Fold a trained adapter into the weights it was trained on, one tensor at a time and without the model's code.

Formulas (peft's ``tuners/{lora,ia3}/layer.py``), for a weight W of shape (out, in):

    LoRA   W + s B A          s = alpha / r, or alpha / sqrt(r) with rank-stabilised scaling
    DoRA   m (W + s B A) / ||W + s B A||   norm over each row
    IA3    W l                l scales the outputs (out, 1), or the inputs (1, in) of a feed-forward layer
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stoker.errors import BadInput
from stoker.recipes.base_tensors import EMBEDDING, OUTPUT, Tensors, as_float32
from stoker.recipes.gguf_families import Matrix

_PREFIX = "base_model.model."
_LEARNED = re.compile(r"(?P<module>.+)\.(?P<part>lora_A|lora_B|lora_magnitude_vector|ia3_l)(?:\.weight|\.default)?")
_METHODS = ("LORA", "IA3")


class Merged:
    """The tensors of `base` with the peft adapter in a folder folded in."""

    def __init__(self, base: Tensors, adapter: Path) -> None:
        self._base = base
        self._config = _read_config(adapter)
        self._learned: dict[str, dict[str, Matrix]] = {}  # weight's name -> part -> value
        self._replaced: dict[str, Matrix] = {}
        for key, value in read_adapter(adapter).items():
            self._sort(key.removeprefix(_PREFIX), value)
        self._check(self.names())

    def names(self) -> Iterable[str]:
        touched = [OUTPUT] if OUTPUT in self._learned or OUTPUT in self._replaced else []
        return dict.fromkeys([*self._base.names(), *touched])

    def shape(self, name: str) -> tuple[int, ...]:
        return self._base.shape(self._origin(name))

    def read(self, name: str) -> Matrix:
        if name in self._replaced:
            return self._replaced[name]
        value = self._base.read(self._origin(name))
        weight = name.rpartition(".")[0] + ".weight"
        if weight not in self._learned:
            return value
        if self._config["peft_type"] == "IA3":
            return _fold_ia3(value, self._learned[weight])
        return self._fold_lora(name, value, self._learned[weight])

    def _sort(self, key: str, value: Matrix) -> None:
        if match := _LEARNED.fullmatch(key):
            self._learned.setdefault(f"{match['module']}.weight", {})[match["part"]] = value
        else:  # modules_to_save and trained biases are whole tensors
            self._replaced[key.replace(".modules_to_save", "").replace(".base_layer", "")] = value

    def _check(self, names: Iterable[str]) -> None:
        hint = "give the base it was trained on"
        strange = (set(self._learned) | set(self._replaced)) - set(names)
        if strange:
            raise BadInput(f"the adapter changes {min(strange)}, which the base lacks; {hint}")
        for name, parts in self._learned.items():
            if "lora_B" not in parts or self._config.get("fan_in_fan_out"):
                continue
            made, due = (parts["lora_B"].shape[0], parts["lora_A"].shape[1]), self.shape(name)
            if made != due:
                raise BadInput(f"the adapter makes {name} {made}, the base has {due}; {hint}")

    def _origin(self, name: str) -> str:
        """A tied output matrix that the adapter changes starts as the embedding."""
        return EMBEDDING if name == OUTPUT and OUTPUT not in set(self._base.names()) else name

    def _fold_lora(self, name: str, value: Matrix, parts: Mapping[str, Matrix]) -> Matrix:
        if not name.endswith(".weight"):
            return value
        delta = (parts["lora_B"] @ parts["lora_A"]) * np.float32(self._scaling(name))
        if self._config.get("fan_in_fan_out"):
            delta = delta.T
        folded: Matrix = value + delta
        if "lora_magnitude_vector" in parts:
            folded *= (parts["lora_magnitude_vector"].ravel() / np.linalg.norm(folded, axis=1))[:, None]
        return folded

    def _scaling(self, name: str) -> float:
        module = name.removesuffix(".weight")
        rank = _of_pattern(self._config.get("rank_pattern"), module, self._config["r"])
        alpha = _of_pattern(self._config.get("alpha_pattern"), module, self._config["lora_alpha"])
        return float(alpha / (math.sqrt(rank) if self._config.get("use_rslora") else rank))


def read_adapter(adapter: Path) -> dict[str, Matrix]:
    """The adapter's tensors as float32."""
    from safetensors import safe_open

    path = adapter / "adapter_model.safetensors"
    if not path.exists():
        raise BadInput(f"{adapter} has no adapter_model.safetensors; it is no finished training")
    with safe_open(path, framework="pt") as opened:
        return {name: as_float32(opened.get_tensor(name).float().numpy()) for name in opened.keys()}  # noqa: SIM118


def _fold_ia3(value: Matrix, parts: Mapping[str, Matrix]) -> Matrix:
    scale = parts["ia3_l"]
    if value.ndim > 1:
        return value * scale
    return value if scale.shape[0] == 1 else value * scale.ravel()  # a bias is scaled with its outputs


def _read_config(adapter: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((adapter / "adapter_config.json").read_text())
    if config["peft_type"] not in _METHODS:
        raise BadInput(
            f"cannot merge a {config['peft_type']} adapter into weights; there are: {', '.join(_METHODS)}"
        )
    return config


def _of_pattern(pattern: Mapping[str, float] | None, module: str, default: float) -> float:
    for key, value in (pattern or {}).items():
        if re.fullmatch(rf"(.*\.)?({key})", module):
            return value
    return default
