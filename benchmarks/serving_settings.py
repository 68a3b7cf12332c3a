"""How published benchmarks set their engines, as their own scripts say; nothing here looks at what was measured.

InferenceMAX keeps a script for each model, format, card and engine in `benchmarks/`. What differs from an engine's
own settings and changes when a prompt is processed stands here: tokens of one pass, how often the engine looks at
its queue, and how long it holds prompts back so that they share a pass.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from stoker.perf.serving.split import Split


@dataclass(frozen=True)
class Settings:
    """Names as in stoker.perf.serving.curves.Engine."""

    chunk: int
    looks: float = 1.0
    hold: float = 0.0
    enough: float = math.inf


def settings(
    engine: str, model: str, quantisation: str, system: str, mode: str, prompt: int, answer: int, users: float, split: Split, *,
    early: bool, ours: bool,
) -> Settings:  # fmt: skip
    """`early`: the script is of 2025. Not `ours`: aiconfigurator's evaluation ran it."""
    if not ours:
        return Settings(int(users) + prompt + 1500)
    if engine == "trtllm":
        return _trtllm(model, quantisation, mode, prompt, answer, users, split, early=early)
    if engine == "sglang":
        return _sglang(model, quantisation, system, users, split)
    return Settings(8192)


def _sglang(model: str, quantisation: str, system: str, users: float, split: Split) -> Settings:
    looks = 30 if users >= 16 else 10
    if model.startswith("deepseek"):
        if quantisation == "fp4":
            return Settings(16384, looks)
        return Settings(32768, looks) if split.devices == 8 else Settings(8192, 10)
    if model.startswith("qwen3.5") and system.startswith("b300") and quantisation == "fp8":
        return Settings(16384, 10)
    if model.startswith("qwen3.5") and system.startswith("b200") and quantisation == "fp4":
        return Settings(32768, 30)
    return Settings(32768, looks)


def _trtllm(
    model: str, quantisation: str, mode: str, prompt: int, answer: int, users: float, split: Split, *, early: bool
) -> Settings:  # fmt: skip
    short = prompt == answer == 1024
    if mode != "agg":
        return Settings(8192)
    if model.startswith("llama"):
        chunk = 16384 if quantisation == "fp8" else prompt + answer + 200
        if short and split.devices < 8:
            return Settings(chunk, hold=20, enough=max(1.0, 0.9 * chunk / prompt))
        return Settings(chunk)
    chunk = int(users) + prompt + 64
    if not early:
        chunk = max(8192, chunk)
    if split.adp > 1:
        return Settings(chunk, hold=60, enough=split.adp)
    if short and users >= 64 and quantisation == "fp8":
        return Settings(chunk, hold=40, enough=max(1.0, 0.8 * chunk / prompt))
    return Settings(chunk)
