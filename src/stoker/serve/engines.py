"""Serving engines: which recipe starts each, and what it can serve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stoker.errors import NotFound


@dataclass(frozen=True)
class ServingEngine:
    name: str
    recipe: str  # module in stoker.recipes that starts it as a service job
    formats: tuple[str, ...]  # of artifacts: "gguf", "hf", "adapter"
    devices: tuple[str, ...]  # "cpu", "gpu"; a replica gets a device only where its engine makes use of one
    sleeps: bool = False  # it can free its devices and keep its weights in the host's memory


ENGINES: Mapping[str, ServingEngine] = {
    engine.name: engine
    for engine in (
        ServingEngine("llama.cpp", "serve_llama", ("gguf",), ("cpu",)),
        ServingEngine("torch", "serve_torch", ("adapter", "hf"), ("cpu", "gpu")),
        ServingEngine("vllm", "serve_vllm", ("hf",), ("gpu",), sleeps=True),
    )
}


def engine_named(name: str) -> ServingEngine:
    """Raises NotFound with near names."""
    if name not in ENGINES:
        raise NotFound.named("serving engine", name, ENGINES)
    return ENGINES[name]
