"""Curves: the measured numbers of serving. Each has a physical meaning; none belongs to one model or one row.

Common to all engines: what share of memory bandwidth and of large products' rate the kernels of inference reach,
how routed tokens spread over experts, how long a small collective takes. Of an engine: what it spends per kernel
when a step is replayed from a graph and when it is not, per step, per sequence and per request.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from stoker.errors import NotFound
from stoker.perf.datasheet import find, plain_name, sheets


@dataclass(frozen=True)
class Common:
    """Shares and latencies that kernels of inference have in common."""

    weights: float = 0.75  # of memory bandwidth, streaming weights through small products
    cache: float = 0.6  # of memory bandwidth, reading keys and values
    products: float = 0.8  # of what large products reach, in prefill
    narrow: float = 0.7  # fp4 products reach this share of that
    young: float = 0.85  # products on Blackwell reach this share of that: its kernels are younger
    early: float = 1.25  # how much longer kernels of models with experts took on it in releases of 2025
    blocks: float = 0.7  # fp8 products scaled by block reach this share of that
    passes: float = 5.0  # reads and writes of the hidden state in a block: norm, residual, casts
    moves: float = 5.0  # the same of a token on its way to an expert and back: sorted, cast, weighed, added
    scores: float = 0.4  # of what large bf16 products reach, fused attention
    busy_experts: float = 0.6  # share of experts that carry the load: routing is uneven
    tile: float = 64.0  # rows an expert's product is padded to, on average by half
    grouped_kernels: float = (
        6.0  # of a block of grouped-query attention, with norms, rotation, cache write, residual
    )
    latent_kernels: float = 11.0  # of multi-head latent attention
    linear_kernels: float = 10.0  # of linear attention or Mamba
    dense_kernels: float = 4.0  # of a dense feed-forward block
    expert_kernels: float = 8.0  # of a block of experts: router, sorting, two grouped products, joining
    collective: float = 8e-6  # s, of a small all-reduce or all-to-all among eight devices of one scale-up domain
    network: float = 25e-6  # s, the same beyond the scale-up domain
    links: float = 0.9  # of what perf/collective.py expects of large all-reduces
    exchange: float = 0.4  # of what it expects of all-to-alls: tokens sent to their experts and back
    grouped: float = 0.6  # of products' rate, experts' products in one kernel
    packed: float = 0.85  # fp4 weights stream at this share of what wider ones do
    unpack: float = 0.5  # of memory bandwidth and products when weights are unpacked into wider units


@dataclass(frozen=True)
class Engine:
    """What one inference engine spends beside the kernels' own work."""

    name: str = ""
    kernel: float = 3e-6  # s for each kernel of a decode step, replayed from a graph
    eager: float = 8e-6  # s of the host for each kernel of a prefill
    products: float = 1.0  # its large products against the others'
    step: float = 0.5e-3  # s for each step: scheduling, sampling
    sequence: float = 10e-6  # s for each sequence of a step: sampling, detokenising, streaming
    experts: float = 0.3e-3  # s of the host for each block of experts in a prefill: routing, dispatch
    exposed: float = 0.5  # share of the host's time in a prefill that running sequences wait for
    request: float = 30e-3  # s before and after the first pass: parsing, tokenising, the first answer
    looks: float = 1.0  # steps between two looks at the queue of new requests
    hold: float = 0.0  # steps that a prompt is held back at most, so that others join its pass
    enough: float = math.inf  # prompts that are held back no longer
    mixes: bool = True  # prompts and running sequences share a step; else a prefill stops the others
    books_answers: bool = False  # a sequence begins when its whole answer has room, and is never put off
    keeps_sixteen_bits: bool = False  # in the cache, unless the card multiplies fp4: its kernels read eight bits
    chunk: int = 8192  # tokens of prompts in one pass
    reserve: float = 0.10  # share of memory kept for activations and graphs
    reserves_of_rest: bool = False  # the share is of what weights leave, not of the whole
    calibrated: bool = True  # its numbers come from measurements


@dataclass(frozen=True)
class Curves:
    common: Common
    engine: Engine


@cache
def curves(engine: str) -> Curves:
    """The curves of an engine, in any spelling. Raises NotFound with the engines there are."""
    common = {name: float(value) for name, value in sheets("serving")["common"].quantities.items()}
    return Curves(replace(Common(), **common), _engine(engine))


def engines() -> tuple[str, ...]:
    return tuple(name for name in sheets("serving") if name != "common")


def _engine(name: str) -> Engine:
    if plain_name(name) == "common":
        raise NotFound.named("engine", name, engines())
    sheet = find("serving", name, "engine")
    numbers = {key: float(value) for key, value in sheet.quantities.items()}
    return with_numbers(
        Engine(name=sheet.name, **{k: v for k, v in sheet.plain.items() if k != "aliases"}), numbers
    )


def with_numbers(engine: Engine, numbers: Mapping[str, float]) -> Engine:
    """`engine` with some of its measured numbers put in place."""
    return replace(engine, **dict[str, Any](numbers))
