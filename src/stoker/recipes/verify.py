"""Verify: the served model answers like the trained one.

Asks the served model the evaluation's probes and holds each position of the trained model's greedy answers against
what the server would say there. The model passes when

1. the mean KL (trained || served) over all positions is at most ``max_mean_kl`` (`kl` states the formula), and
2. the probes do not show (with 95 % confidence) that fewer than ``min_agreeing`` of all prompts agree. A probe
   agrees when it has the same greedy tokens, or another one only where the trained model itself was undecided,
   that is where its logprob of the two differs by less than ``sqrt(8 max_mean_kl)``: to flip a gap g between two
   even tokens costs g^2 / 8 nats of KL, so a flip over a larger gap is more than the bound allows.

Greedy text alone would be the wrong measure: over a long answer the smallest rounding decides ties; decision
record 0023 has the figures. Input ``evaluate`` holds ``probes.jsonl``, a `Probe` per line. A model that does not
pass raises Broken, so the stage fails and the old version keeps serving.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stoker import probe
from stoker.errors import BadInput, Broken
from stoker.recipes import stage
from stoker.recipes.kl import divergence
from stoker.recipes.served import Position, Served
from stoker.typed import read, strict

VERSION = 1
KEY = "STOKER_SERVICE_KEY"
_WORST = 5  # probes shown in the result


@strict
@dataclass(frozen=True)
class Config:
    """What to ask, and how much may differ."""

    url: str  # of the server, without /v1
    model: str  # the alias it serves
    max_mean_kl: float = 0.01  # nats; f16 stays under 0.0001, q8_0 under 0.005, wrong ones are over 0.1
    min_agreeing: float = 0.98  # share of all prompts that must agree, as far as the probes can tell
    probes: int = 0  # how many to ask; 0 asks all
    at_once: int = 4  # requests at the same time
    timeout_s: float = 120.0  # of one request


@dataclass(frozen=True)
class Probe:
    """A prompt with the trained model's greedy answer."""

    messages: list[dict[str, str]]
    tokens: list[int]
    text: str
    top: list[list[tuple[int, float]]]  # per position the likeliest tokens and their logprobs


@dataclass(frozen=True)
class Comparison:
    """One probe, trained against served."""

    probe: Probe
    kls: tuple[float, ...]  # per position that was compared
    flips: tuple[tuple[int, int, float], ...]  # position, served token, the trained model's gap in nats

    @property
    def gap(self) -> float:
        """The largest gap that was flipped; 0 when all tokens are the same."""
        return max((gap for _, _, gap in self.flips), default=0.0)

    @property
    def mean_kl(self) -> float:
        return sum(self.kls) / max(len(self.kls), 1)


def run(stage: stage.Stage[Config]) -> dict[str, Any]:
    """Compare and judge; raises Broken when the served model differs from the trained one."""
    config = stage.config
    probes = _read_probes(stage.inputs["evaluate"] / "probes.jsonl")
    compared = asyncio.run(_compare_all(config, probes[: config.probes or None]))
    result = judge(compared, config)
    probe.note("verify", result)
    if result["verdict"] != "equal":
        raise Broken(_explain(result))
    return result


def _read_probes(path: Path) -> list[Probe]:
    if not path.is_file():
        raise BadInput(f"no {path}; the evaluation writes it, run evaluate first")
    probes = [read(Probe, json.loads(line), what=path.name) for line in path.read_text().splitlines() if line]
    if not probes:
        raise BadInput(f"{path} has no probes; give the evaluation at least one held-out example")
    return probes


async def _compare_all(config: Config, probes: Sequence[Probe]) -> list[Comparison]:
    served = Served(config.url, config.model, os.environ.get(KEY, ""), config.timeout_s)
    gate = asyncio.Semaphore(config.at_once)
    done = 0

    async def compare(one: Probe) -> Comparison:
        nonlocal done
        async with gate:
            positions = await served.follow(one.messages, one.tokens)
        done += 1
        probe.report(step=done, total=len(probes))
        return compare_one(one, positions)

    try:
        return list(await asyncio.gather(*(compare(one) for one in probes)))
    finally:
        await served.close()


def compare_one(one: Probe, positions: Sequence[Position]) -> Comparison:
    """`positions` are the server's, as far as it could be followed."""
    kls, flips = [], []
    for index, (token, top, served) in enumerate(zip(one.tokens, one.top, positions, strict=False)):
        reference = dict(top)
        kls.append(divergence(reference, served.top))
        if served.token != token:
            known = reference.get(served.token, min(reference.values()))
            flips.append((index, served.token, reference.get(token, 0.0) - known))
    return Comparison(one, tuple(kls), tuple(flips))


def judge(compared: Sequence[Comparison], config: Config) -> dict[str, Any]:
    """The verdict on all probes, as written to ``result.json``."""
    kls = [kl for one in compared for kl in one.kls]
    undecided = math.sqrt(8 * config.max_mean_kl)
    agreeing = sum(one.gap < undecided for one in compared)
    least, most = wilson(len(compared) - agreeing, len(compared))
    mean = sum(kls) / max(len(kls), 1)
    passed = bool(kls) and mean <= config.max_mean_kl and least <= 1 - config.min_agreeing
    worst = sorted(compared, key=lambda one: (one.gap >= undecided, one.mean_kl), reverse=True)
    return {
        "probes": len(compared),
        "equal": sum(not one.flips for one in compared),
        "agreeing": agreeing,
        "positions": len(kls),
        "mean_kl": mean,
        "max_kl": max(kls, default=0.0),
        "bound": config.max_mean_kl,
        "undecided_gap": undecided,
        "differs_at_most": most,
        "verdict": "equal" if passed else "different",
        "worst": [_shown(one) for one in worst[:_WORST] if one.flips or one.mean_kl > config.max_mean_kl],
    }


def wilson(differing: int, total: int, z: float = 1.645) -> tuple[float, float]:
    """Between which shares of all prompts may differ; each bound holds with 95 % (Wilson's score interval)."""
    share = differing / total
    centre = share + z * z / (2 * total)
    spread = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    return max((centre - spread) / scale, 0.0), (centre + spread) / scale


def _shown(one: Comparison) -> dict[str, Any]:
    return {
        "prompt": one.probe.messages[-1]["content"][:200],
        "trained": one.probe.text[:200],
        "mean_kl": one.mean_kl,
        "flips": [{"position": at, "served": token, "gap": gap} for at, token, gap in one.flips[:_WORST]],
    }


def _explain(result: dict[str, Any]) -> str:
    differing = result["probes"] - result["agreeing"]
    worst: dict[str, Any] = result["worst"][0] if result["worst"] else {"prompt": "", "mean_kl": 0.0}
    return (
        f"the served model differs from the trained one: {differing} of {result['probes']} probes disagree, "
        f"mean KL {result['mean_kl']:.3g} nats (bound {result['bound']:.3g}); "
        f'worst "{worst["prompt"][:60]}" ({worst["mean_kl"]:.3g} nats); '
        "check that the exported type is not too coarse, the chat template is the base's and the adapter was merged"
    )


if __name__ == "__main__":
    stage.main(Config, run)
