"""How published benchmarks set their engines, as their own scripts say; nothing here looks at what was measured.

InferenceMAX keeps a script for each model, format, card and engine in `benchmarks/`. What differs from the
engine's own settings and decides when a prompt is processed stands here: tokens of one pass, how often the engine
looks at its queue, and how long prompts are held back so that they share a pass.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from stoker.perf.serving.split import Split


@dataclass(frozen=True)
class Settings:
    """Names as in stoker.perf.serving.curves.Engine."""

    chunk: int
    looks: float = 1.0
    hold: float = 0.0
    enough: float = math.inf


@dataclass(frozen=True)
class _Run:
    """What a script is called with."""

    model: str
    formats: str
    system: str
    prompt: int
    answer: int
    users: float
    split: Split
    apart: bool  # prompts are processed on replicas of their own
    early: bool  # the script is of 2025

    @property
    def short(self) -> bool:
        return self.prompt == self.answer == 1024


def settings(
    row: Mapping[str, str], model: str, formats: str, users: float, split: Split, *, ours: bool, early: bool
) -> Settings:
    """Of one row. Not `ours`: aiconfigurator's evaluation ran it, whose passes have room for one long prompt."""
    prompt, answer = int(row["isl"]), int(row["osl"])
    if not ours:
        return Settings(int(users) + prompt + 1500)
    run = _Run(model, formats, row["system"], prompt, answer, users, split, row["mode"] != "agg", early)
    if row["backend"] == "sglang":
        return _sglang(run)
    if row["backend"] == "trtllm" and not run.apart:
        return _llama(run) if model.startswith("llama") else _trtllm(run)
    return Settings(8192)


def _sglang(run: _Run) -> Settings:
    """--chunked-prefill-size and --scheduler-recv-interval."""
    looks = 30 if run.users >= 16 else 10
    if run.apart:
        return Settings(16384, looks)
    if run.model.startswith("deepseek"):
        if run.formats == "fp4":
            return Settings(16384, looks)
        return Settings(32768, looks) if run.split.devices == 8 else Settings(8192, 10)
    if run.system.startswith("b300") and run.formats == "fp8":  # qwen3.5_fp8_b300.sh
        return Settings(16384, 10)
    if run.system.startswith("b200") and run.formats == "fp4":  # qwen3.5_fp4_b200.sh
        return Settings(32768, 30)
    return Settings(32768, looks)


def _llama(run: _Run) -> Settings:
    """max_num_tokens, batch_wait_timeout_iters and batch_wait_max_tokens_ratio of 70b_fp8_b200_trt_slurm.sh."""
    chunk = 16384 if run.formats == "fp8" else run.prompt + run.answer + 200
    if run.short and run.split.devices < 8:
        return Settings(chunk, hold=20, enough=max(1.0, 0.9 * chunk / run.prompt))
    return Settings(chunk)


def _trtllm(run: _Run) -> Settings:
    """dsr1_fp8_b200_trt.sh and its like, which also tell attention groups to wait until each has a prompt."""
    chunk = int(run.users) + run.prompt + 64
    if not run.early:
        chunk = max(8192, chunk)
    if run.split.adp > 1:
        return Settings(chunk, hold=60, enough=run.split.adp)
    if run.short and run.formats == "fp8" and run.users >= 64 and not run.early:
        return Settings(chunk, hold=40, enough=max(1.0, 0.8 * chunk / run.prompt))
    return Settings(chunk)
