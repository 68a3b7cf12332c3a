"""Work: what one pass of tokens through a model asks of one device of a replica.

A pass is a list of operations. An operation moves bytes, multiplies, or both at once, in some number of kernels;
`step` turns it into seconds. Counted for one device, the one with most to do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, lru_cache

from stoker.perf.serving.curves import Common
from stoker.perf.serving.quantisation import QUANTISATIONS, Quantisation
from stoker.perf.serving.split import Split
from stoker.perf.transformer import Experts, Transformer

SHARED = 3  # kernels of the experts that all tokens pass
_LATENT_INPUTS = 5  # of products of latent attention: down, up, two with the absorbed matrices, out
ACTIVATION = 2.0  # bytes of a value between blocks


@dataclass(frozen=True)
class Batch:
    """Tokens of one pass. Decode: one new token a sequence, `past` tokens behind each."""

    tokens: float  # of the whole stage
    past: float = 0.0  # cached tokens that each token looks at
    pairs: float = 0.0  # prefill: query-key pairs of one head, all sequences
    sequences: float = 1.0
    decode: bool = True


@dataclass(frozen=True)
class Operation:
    kind: str  # "weights", "experts", "cache", "scores", "passes"; "reduce", "exchange" and "hand" over links
    moved: float = 0.0  # bytes through the device's memory, or over links for a collective
    flops: float = 0.0
    kernels: float = 1.0
    ranks: int = 1  # of a collective
    times: float = 1.0  # how often in one pass
    formats: str = "bf16"  # the quantisation whose units multiply


def touched(count: float, per_token: float, tokens: float, busy: float) -> float:
    """Experts that at least one of `tokens` is routed to, of `count` of which a share `busy` carries the load."""
    carrying = max(per_token, count * busy)
    return carrying * (1.0 - (1.0 - per_token / carrying) ** tokens) if carrying > per_token else carrying


def operations(
    model: Transformer, split: Split, quantisation: Quantisation, batch: Batch, common: Common, cached: float
) -> Iterator[Operation]:
    """Everything one pass does on the busiest device, but for the engine's own overheads."""
    local = batch.tokens / min(split.adp, max(1.0, batch.sequences))  # tokens of one attention group
    beside = _beside(model, quantisation)
    yield from _attention(model, split, beside, batch, local, common, cached)
    yield from _linear(model, split, beside, batch, local, common)
    if model.dense_blocks:
        yield _products(
            model.dense_parameters / split.tp, local, quantisation, common.dense_kernels, model.dense_blocks
        )
    if model.experts:
        yield from _experts(model, model.experts, split, quantisation, batch, local, common)
    yield from _mamba(model, split, beside, batch, local, common)
    yield from _passes(model, split, batch, local, common)
    yield from _collectives(model, split, local)
    answers = local if batch.decode else batch.sequences / min(split.adp, max(1.0, batch.sequences))
    yield _products(model.embedding_parameters / split.tp, answers, QUANTISATIONS["bf16"], 2, 1)


@lru_cache(maxsize=4096)
def attention_parameters(model: Transformer, tp: int) -> float:
    """Of one attention block on one device; what tensor parallelism does not cut lies on all."""
    return sum(
        matrix.parameters / (1 if matrix.split == "none" else tp)
        for matrix in model.attention.matrices(model.hidden)
    )


def cached_values(model: Transformer, tp: int) -> float:
    """Numbers that one token leaves in the cache of one attention block, on one device."""
    attention = model.attention
    if attention.kv_rank:
        return attention.kv_rank + attention.rope_dim
    keys = max(1.0, attention.kv_heads / tp)  # fewer heads than devices: each keeps a copy
    return keys * (attention.head_dim + (attention.value_dim or attention.head_dim))


def _beside(model: Transformer, quantisation: Quantisation) -> Quantisation:
    return _unquantised(quantisation.beside) if model.experts and quantisation.beside else quantisation


@cache
def _unquantised(name: str) -> Quantisation:
    """Of layers that a checkpoint left as they were: no kernel brings activations into a format."""
    return replace(QUANTISATIONS[name], quantises=False)


def _products(
    parameters: float, tokens: float, q: Quantisation, kernels: float, times: float, *, quantised: int = 2
) -> Operation:
    """`quantised`: inputs that a kernel of their own brings into the format first."""
    extra = quantised if q.quantises else 0
    return Operation("weights", parameters * q.weight, 2.0 * parameters * tokens, kernels + extra, 1, times, q.name)


def _attention(
    model: Transformer, split: Split, q: Quantisation, batch: Batch, local: float, common: Common, cached: float
) -> Iterator[Operation]:
    blocks, attention = model.attention_blocks, model.attention
    if not blocks:
        return
    kernels = common.latent_kernels if attention.kv_rank else common.grouped_kernels
    quantised = _LATENT_INPUTS if attention.kv_rank else 2
    yield _products(attention_parameters(model, split.tp), local, q, kernels, blocks, quantised=quantised)
    share = local / batch.tokens
    for count, window in ((blocks - model.windowed_blocks, 0), (model.windowed_blocks, attention.window)):
        if count:
            yield _scores(model, split, cached, batch, local, share, count, window)


def _scores(
    model: Transformer,
    split: Split,
    cached: float,
    batch: Batch,
    local: float,
    share: float,
    count: int,
    window: int,
) -> Operation:
    attention = model.attention
    if not batch.decode:
        pairs = batch.pairs * share
        if window:
            pairs = min(pairs, local * window)
        return Operation("scores", 0.0, attention.pair_flops / split.tp * pairs, 0, times=count)
    past = min(batch.past, window) if window else batch.past
    moved = local * past * cached_values(model, split.tp) * cached
    per_pair = attention.pair_flops
    if attention.kv_rank:  # absorbed: queries meet the compressed keys
        per_pair = 2 * attention.heads * (2 * attention.kv_rank + attention.rope_dim)
    return Operation("cache", moved, per_pair / split.tp * local * past, 0, times=count)


def _linear(
    model: Transformer, split: Split, q: Quantisation, batch: Batch, local: float, common: Common
) -> Iterator[Operation]:
    if not (model.linear and model.linear_blocks):
        return
    yield _products(model.linear_parameters / split.tp, local, q, common.linear_kernels, model.linear_blocks)
    sequences = local if batch.decode else 1.0
    state = 2 * 4.0 * model.linear.state_values / split.tp * sequences  # float32, read and written
    yield Operation("cache", state, model.linear.scan_flops / split.tp * local, 0, times=model.linear_blocks)


def _mamba(
    model: Transformer, split: Split, q: Quantisation, batch: Batch, local: float, common: Common
) -> Iterator[Operation]:
    if not (model.mamba and model.mamba_blocks):
        return
    yield _products(model.mamba_parameters / split.tp, local, q, common.linear_kernels, model.mamba_blocks)
    sequences = local if batch.decode else 1.0
    values = model.mamba.heads * model.mamba.head_dim * model.mamba.state
    state = 2 * 4.0 * values / split.tp * sequences
    yield Operation("cache", state, model.mamba.scan_flops / split.tp * local, 0, times=model.mamba_blocks)


def _experts(
    model: Transformer, experts: Experts, split: Split, q: Quantisation, batch: Batch, local: float, common: Common
) -> Iterator[Operation]:
    beside = model.beside_experts_parameters / split.tp
    blocks = q.compute == "fp8"  # whose scales no norm and no activation brings along, as they do for fp4
    if experts.shared_ffn:
        yield _products(beside, local, q, SHARED, model.expert_blocks, quantised=2 if blocks else 0)
    else:
        yield _products(beside, local, q, 1, model.expert_blocks, quantised=0)
    tokens = batch.tokens
    met = touched(experts.count, experts.per_token, tokens, common.busy_experts) / split.ep
    free = 1.0 - met * split.ep / experts.count  # where nearly all are met, ranks hardly differ
    here = min(met * imbalance(met / max(free, 1e-9), split.ep), experts.count / split.ep)
    rows = tokens * experts.per_token / split.ep
    rows *= imbalance(rows, split.ep)
    padded = rows + here * min(common.tile / 2, max(0.0, rows / max(here, 1e-9)) * 2 + 8)
    cut = model.expert_parameters / split.expert_tp
    extra = (2 if blocks else 1) if q.quantises else 0
    yield Operation(
        "experts",
        here * cut * q.weight,
        2.0 * padded * cut,
        common.expert_kernels + extra,
        1,
        model.expert_blocks,
        q.name,
    )


def imbalance(rows: float, ranks: int) -> float:
    """The fullest of `ranks` against the mean, `rows` on average each by chance: 1 + sqrt(2 ln ranks / rows)."""
    if ranks <= 1:
        return 1.0
    return min(float(ranks), 1.0 + math.sqrt(2.0 * math.log(ranks) / max(rows, 1.0)))


def _passes(model: Transformer, split: Split, batch: Batch, local: float, common: Common) -> Iterator[Operation]:
    """Reads and writes of activations between products.

    Norms and residuals lie on all devices of a tensor-parallel group; rows that go to experts and back are split.
    """
    blocks = model.attention_blocks + model.linear_blocks + model.mamba_blocks
    blocks += model.dense_blocks + model.expert_blocks
    yield Operation("passes", local * model.hidden * ACTIVATION * common.passes, kernels=0, times=blocks)
    if model.experts:
        rows = batch.tokens * model.experts.per_token / split.ep
        yield Operation(
            "passes", rows * model.hidden * ACTIVATION * common.moves, kernels=0, times=model.expert_blocks
        )


def _collectives(model: Transformer, split: Split, local: float) -> Iterator[Operation]:
    """Messages, sized as perf/collective.py sizes them: the buffer of one device."""
    mixing = model.attention_blocks + model.linear_blocks + model.mamba_blocks
    size = local * model.hidden * ACTIVATION
    if split.tp > 1:
        reduces = mixing + model.dense_blocks + (model.expert_blocks if split.adp == 1 else 0)
        yield Operation("reduce", size, kernels=0, ranks=split.tp, times=reduces)
    if model.experts and split.adp > 1:
        reach = min(model.experts.per_token, split.stage)
        for width in (1.0, ACTIVATION):  # out in eight bits, back in sixteen
            moved = local / split.tp * model.hidden * width * reach
            yield Operation("exchange", moved, kernels=0, ranks=split.stage, times=model.expert_blocks)
    if split.pp > 1:
        yield Operation("hand", size, kernels=0, ranks=2, times=split.pp - 1)
