"""Export: a trained model as one file that an inference engine loads.

Full models, LoRA and IA3 become weights, a soft prompt becomes tokens: all of them GGUF for llama.cpp. What cannot
(bottleneck adapters, and families GGUF does not hold) stays a base plus an adapter for the torch engine.

Inputs: ``base`` (Hugging Face folder or .gguf file) and ``train`` (see `train`). Output: ``model.gguf``, or
``adapter/`` with a reference to the base; ``result.json`` names engine, file, type, size and digest.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from stoker import probe
from stoker.errors import BadInput, Unfit
from stoker.recipes import stage
from stoker.recipes.base_tensors import EMBEDDING, FolderTensors
from stoker.recipes.export_base import Base, open_base
from stoker.recipes.gguf_fields import field
from stoker.recipes.gguf_writer import Content, FileType, write
from stoker.recipes.hf_vocabulary import read_vocabulary
from stoker.recipes.merge import Merged
from stoker.recipes.soft_prompt import read_prompt, token_names, with_prompt_rows
from stoker.sources import basemodel
from stoker.typed import strict

VERSION = 1
FILE = "model.gguf"
METHODS = ("full", "lora", "ptuning", "bottleneck", "ia3")


@strict
@dataclass(frozen=True)
class Config:
    """How to write the model."""

    type: FileType = "f16"  # of the matrices: see docs/decisions/0021 for what each costs in fidelity and speed
    engine: Literal["auto", "llama.cpp", "torch"] = "auto"  # auto: llama.cpp where it can serve the model
    name: str = ""  # general.name in the file; empty keeps the base's


def run(stage: stage.Stage[Config]) -> dict[str, Any]:
    """Write the artifact; raises Unfit when the demanded engine cannot serve the method."""
    method = _method(stage.inputs["train"])
    if stage.config.engine != "torch":
        try:
            return _to_gguf(stage, method)
        except Unfit as reason:
            if stage.config.engine == "llama.cpp":
                raise
            probe.note("engine", {"engine": "torch", "reason": str(reason)})
            return _for_torch(stage, method, str(reason))
    return _for_torch(stage, method, "asked for")


def _method(train: Path) -> str:
    method = str(json.loads((train / "result.json").read_text())["method"])
    if method not in METHODS:
        raise BadInput(f'training method "{method}" cannot be exported; there are: {", ".join(METHODS)}')
    return method


def _to_gguf(stage: stage.Stage[Config], method: str) -> dict[str, Any]:
    started = time.monotonic()
    if method == "bottleneck":
        raise Unfit("a bottleneck adapter adds layers that GGUF cannot hold")
    probe.phase("merge", f"{method} into {stage.inputs['base'].name}")
    trained = _trained(open_base(stage.inputs["base"]), stage.inputs["train"], method)
    path = stage.output / FILE
    write(path, _content(trained, stage.config.name), stage.config.type)
    return {
        "engine": "llama.cpp",
        "file": FILE,
        "type": stage.config.type,
        "size": path.stat().st_size,
        "digest": digest(path),
        "method": method,
        "architecture": trained.family.architecture,
        "vocabulary": len(trained.vocabulary.tokens),
        "seconds": round(time.monotonic() - started, 3),
    }


def _trained(base: Base, train: Path, method: str) -> Base:
    """`base` as training left it."""
    if method == "ptuning":
        hidden = base.tensors.shape(EMBEDDING)[1]
        prompt = read_prompt(train / "adapter", hidden)
        vocabulary = base.vocabulary.with_prefix(token_names(len(prompt)))
        size_key = f"{base.family.architecture}.vocab_size"
        fields = {**base.fields, size_key: field(len(vocabulary.tokens))}
        return replace(base, fields=fields, vocabulary=vocabulary, tensors=with_prompt_rows(base, prompt))
    if method == "full":
        return _full(base, train / "model")
    return replace(base, tensors=Merged(base.tensors, train / "adapter"))


def _full(base: Base, model: Path) -> Base:
    """The trained tensors under the base's numbers and vocabulary; the model's own where it was resized."""
    config = json.loads((model / "config.json").read_text())
    tensors = FolderTensors(model, tied=bool(config.get("tie_word_embeddings", base.family.always_tied)))
    if tensors.shape(EMBEDDING) == base.tensors.shape(EMBEDDING):
        return replace(base, tensors=tensors)
    return replace(open_base(model), vocabulary=read_vocabulary(model, config))


def _content(trained: Base, name: str) -> Content:
    named = {"general.name": field(name)} if name else {}
    fields = {**trained.fields, **named, **trained.vocabulary.fields()}
    return Content(trained.family, fields, trained.tensors, trained.heads, trained.kv_heads, trained.extra)


def _for_torch(stage: stage.Stage[Config], method: str, reason: str) -> dict[str, Any]:
    """A reference to the base (it is not copied) and what training made of it."""
    part = "model" if method == "full" else "adapter"
    shutil.copytree(stage.inputs["train"] / part, stage.output / part)
    base = stage.inputs["base"].resolve()
    return {
        "engine": "torch",
        "file": part,
        "type": "",
        "size": sum(path.stat().st_size for path in _files(stage.output)),
        "digest": digest(stage.output / part),
        "method": method,
        "base": stage.locations.get("base", str(base)),
        "base_digest": basemodel.digest(base),
        "reason": reason,
    }


def digest(path: Path) -> str:
    """``sha256:...`` of a file, or of a folder's relative names and contents."""
    whole = hashlib.sha256()
    for file in _files(path):
        if file != path:
            whole.update(file.relative_to(path).as_posix().encode() + b"\0")
        with file.open("rb") as opened:
            whole.update(hashlib.file_digest(opened, "sha256").digest())
    return f"sha256:{whole.hexdigest()}"


def _files(path: Path) -> Iterator[Path]:
    return iter([path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file()))


if __name__ == "__main__":
    stage.main(Config, run)
