"""Options that say what users of a served model send and expect."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stoker.perf.serving.load import Objective
from stoker.perf.serving.replica import Lengths
from stoker.units import parse_latency

Prompt = Annotated[float, typer.Option("--prompt", help="Tokens of a prompt, mean.")]
Answer = Annotated[float, typer.Option("--answer", help="Tokens of an answer, mean.")]
Ttft = Annotated[str, typer.Option("--ttft", metavar="TIME", help="95 in 100 first tokens within this, as 1s.")]
Tpot = Annotated[str, typer.Option("--tpot", metavar="TIME", help="Each further token within this, as 50ms.")]
EngineName = Annotated[str, typer.Option("--engine", help="vllm, trtllm, sglang or llama.cpp.")]
PriceFile = Annotated[Path | None, typer.Option("--prices", metavar="FILE", help="Your prices, in TOML.")]

_SPREAD = 0.5  # answers' standard deviation by their mean; it only matters to closed loops


def lengths(prompt: float, answer: float) -> Lengths:
    return Lengths(prompt, answer, _SPREAD)


def objective(ttft: str, tpot: str) -> Objective:
    return Objective(parse_latency(ttft), parse_latency(tpot))
