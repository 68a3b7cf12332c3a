"""How long one block of a transformer takes on one device: arithmetic, passes over memory, and what it sends.

Counted for one micro-batch of `tokens` (those of a context-parallel rank), forward and backward apart. Products
follow `compute.gemm_seconds`; the backward pass has two for each of the forward's, of which the one for the weights
adds into float32. Elementwise work is traffic through memory: norms, residuals, rotations, activations, casts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from stoker.perf.accelerator import Accelerator
from stoker.perf.compute import gemm_seconds
from stoker.perf.layout import Workload
from stoker.perf.precision import BYTES, Precision
from stoker.perf.stack import Stack
from stoker.perf.transformer import Matrix, Transformer

# Reads and writes of a [tokens, hidden] tensor around a block: norm (2) and residual (3) forward; norm (4) and the
# sum of gradients (3) backward.
_AROUND = (5.0, 7.0)
_NORM = 2.0
# Per value of a gated block's up projection, both halves together: read both and write one; backward reads three,
# writes two.
_ACTIVATION = (1.5, 2.5)
# Kernels started around the products of a block, forward and backward, and more where a scan is.
_KERNELS = (6, 12)
_SCAN_KERNELS = (12, 20)
ATTENTION_BACKWARD = 2.5  # five products against two (Dao et al. 2022)
# B: read bf16, write the narrow value by rows and by columns; once with a scale for the whole tensor.
_BLOCK_SCALED, _TENSOR_SCALED = 4.0, 3.0
_ROUTER_PASSES = 12.0  # over float32 scores [tokens, experts], each way


@dataclass(frozen=True)
class Times:
    """Seconds of one micro-batch in one block (or one stage), and what it sends, bytes per device."""

    products: float = 0.0
    attention: float = 0.0
    elementwise: float = 0.0
    cheap: float = 0.0  # of forward's elementwise work: norms, activations, casts
    expanding: float = 0.0  # of forward's products: those that make queries, keys and values of latents
    tensor_bytes: float = 0.0  # gathered and scattered among tensor-parallel ranks
    tensor_calls: float = 0.0
    expert_bytes: float = 0.0  # exchanged among expert-parallel ranks
    expert_calls: float = 0.0
    context_bytes: float = 0.0

    @property
    def compute(self) -> float:
        return self.products + self.attention + self.elementwise

    def __add__(self, other: Times) -> Times:
        return Times(
            self.products + other.products,
            self.attention + other.attention,
            self.elementwise + other.elementwise,
            self.cheap + other.cheap,
            self.expanding + other.expanding,
            self.tensor_bytes + other.tensor_bytes,
            self.tensor_calls + other.tensor_calls,
            self.expert_bytes + other.expert_bytes,
            self.expert_calls + other.expert_calls,
            self.context_bytes + other.context_bytes,
        )

    def times(self, count: float) -> Times:
        return Times(
            self.products * count,
            self.attention * count,
            self.elementwise * count,
            self.cheap * count,
            self.expanding * count,
            self.tensor_bytes * count,
            self.tensor_calls * count,
            self.expert_bytes * count,
            self.expert_calls * count,
            self.context_bytes * count,
        )


@dataclass(frozen=True)
class Slice:
    """The part of a model that one device works on at a time."""

    tokens: float  # of one micro-batch on this context-parallel rank
    sequence: int
    tp: int
    cp: int
    ep: int
    along: int  # ways in which tokens are split outside of tensor-parallel products
    precision: Precision
    block_scaled: bool
    fused_attention: bool
    trained: bool  # weights get gradients


def slice_of(workload: Workload, micro_batch: int, tp: int, cp: int, ep: int, sequence_parallel: bool) -> Slice:
    return Slice(
        tokens=micro_batch * workload.sequence / cp,
        sequence=workload.sequence,
        tp=tp,
        cp=cp,
        ep=ep,
        along=tp if sequence_parallel else 1,
        precision=workload.precision,
        block_scaled=workload.block_scaled,
        fused_attention=workload.fused_attention,
        trained=workload.states != "frozen",
    )


@lru_cache(maxsize=16384)
def layers(on: Accelerator, stack: Stack, model: Transformer, part: Slice) -> tuple[Times, Times]:
    """All blocks of the model, forward and backward; a stage takes its share of them."""
    blocks = [
        (model.attention_blocks, _attention),
        (model.dense_blocks, _dense),
        (model.expert_blocks, _experts),
        (model.mamba_blocks, _mamba),
    ]
    forward, backward = Times(), Times()
    for count, seconds in blocks:
        if count:
            ahead, back = seconds(on, stack, model, part)
            forward, backward = forward + ahead.times(count), backward + back.times(count)
    extra = _extra(on, stack, model, part)
    return forward + extra[0], backward + extra[1]


def _extra(on: Accelerator, stack: Stack, model: Transformer, part: Slice) -> tuple[Times, Times]:
    """Layers of multi-token prediction: join two hidden states, then attention and feed-forward."""
    if not model.extra_predictions:
        return Times(), Times()
    joined = _block(on, stack, model, part, (Matrix(2 * model.hidden, model.hidden, "none"),), passes=(0.0, 0.0))
    blocks = [joined, _attention(on, stack, model, part)]
    blocks.append(_experts(on, stack, model, part) if model.experts else _dense(on, stack, model, part))
    forward, backward = Times(), Times()
    for ahead, back in blocks:
        forward, backward = forward + ahead, backward + back
    return forward.times(model.extra_predictions), backward.times(model.extra_predictions)


@lru_cache(maxsize=16384)
def head(on: Accelerator, stack: Stack, model: Transformer, part: Slice) -> tuple[Times, Times]:
    """The output's product in bf16, and the loss over float32 logits, once more for each extra prediction."""
    wide = (Matrix(model.hidden, model.vocabulary),)
    ahead, back = _products(on, wide, part.tokens, part, "bf16")
    logits = part.tokens * model.vocabulary / part.tp
    passes = (_memory(on, logits * 8.0 * stack.passes), _memory(on, logits * 8.0 * stack.passes))
    count = 1 + model.extra_predictions
    return Times(ahead * count, 0.0, passes[0] * count), Times(back * count, 0.0, passes[1] * count)


def _memory(on: Accelerator, moved: float) -> float:
    return moved / on.achieved_bandwidth


def _products(
    on: Accelerator, matrices: Sequence[Matrix], rows: float, part: Slice, precision: Precision, *, batch: int = 1
) -> tuple[float, float]:
    """Forward and backward seconds of passing `rows` tokens through `matrices`, each `batch` times over."""
    ahead = back = 0.0
    m = max(1, round(rows))
    for matrix in matrices:
        k = matrix.inputs // part.tp if matrix.split == "row" else matrix.inputs
        n = matrix.outputs // part.tp if matrix.split == "column" else matrix.outputs
        ahead += gemm_seconds(on, m, n, k, precision, batch=batch)
        back += gemm_seconds(on, m, k, n, precision, batch=batch)
        if part.trained:
            back += gemm_seconds(on, n, k, m, precision, batch=batch, output_bytes=8.0)
    return ahead, back


def _casts(stack: Stack, matrices: Sequence[Matrix], tokens: float, part: Slice) -> tuple[float, float]:
    """Bytes moved to make narrow copies of what products read: inputs forward, gradients of outputs backward."""
    if BYTES[part.precision] >= 2:
        return 0.0, 0.0
    each = (_BLOCK_SCALED if part.block_scaled else _TENSOR_SCALED) * stack.quantise
    each *= 1.5 if part.precision == "fp4" else 1.0
    inputs = sum(matrix.inputs / (part.tp if matrix.split == "row" else 1) for matrix in matrices)
    outputs = sum(matrix.outputs / (part.tp if matrix.split == "column" else 1) for matrix in matrices)
    return each * tokens * inputs, each * tokens * outputs


def kept_wide(model: Transformer, precision: Precision) -> bool:
    """Hybrids in four bits keep all but their routed experts wider (Nemotron 3's recipe; taken as bf16 here)."""
    return precision == "fp4" and model.mamba_blocks > 0


def _around(on: Accelerator, stack: Stack, model: Transformer, part: Slice) -> tuple[float, float]:
    """Norm and residual of one block, and the gaps between its kernels."""
    moved = 2.0 * part.tokens * model.hidden / part.along * stack.passes
    start = on.curves.start * stack.start
    return (
        _memory(on, _AROUND[0] * moved) + _KERNELS[0] * start,
        _memory(on, _AROUND[1] * moved) + _KERNELS[1] * start,
    )


def _tensor(model: Transformer, part: Slice) -> tuple[float, float]:
    """Bytes each device receives and sends in one gather or scatter among tensor-parallel ranks."""
    if part.tp == 1:
        return 0.0, 0.0
    return 2.0 * part.tokens * model.hidden * (part.tp - 1) / part.tp, 1.0


def _block(
    on: Accelerator,
    stack: Stack,
    model: Transformer,
    part: Slice,
    matrices: Sequence[Matrix],
    *,
    passes: tuple[float, float],
    attention: tuple[float, float] = (0.0, 0.0),
    context: float = 0.0,
    expanding: float = 0.0,
) -> tuple[Times, Times]:
    """A block of dense products: `passes` are bytes of its own elementwise work, forward and backward.

    `expanding`: the share of its products that expand latents.
    """
    if kept_wide(model, part.precision):
        part = replace(part, precision="bf16")
    ahead, back = _products(on, matrices, part.tokens, part, part.precision)
    casts = _casts(stack, matrices, part.tokens, part)
    around = _around(on, stack, model, part)
    volume, calls = _tensor(model, part)
    own = _memory(on, casts[0] + passes[0] * stack.passes)
    norm = _memory(on, _NORM * 2.0 * part.tokens * model.hidden / part.along * stack.passes)
    forward = Times(
        ahead, attention[0], around[0] + own, own + norm, expanding * ahead, 2 * volume, 2 * calls,
        context_bytes=context,
    )  # fmt: skip
    backward = Times(
        back, attention[1], around[1] + _memory(on, casts[1] + passes[1] * stack.passes),
        tensor_bytes=2 * volume, tensor_calls=2 * calls, context_bytes=2 * context,
    )  # fmt: skip
    return forward, backward


def _attention(on: Accelerator, stack: Stack, model: Transformer, part: Slice) -> tuple[Times, Times]:
    kind = model.attention
    sequences = part.tokens * part.cp / part.sequence
    pairs = model.pairs(part.sequence, causal=True) * sequences / part.cp
    ahead = pairs * kind.pair_flops / part.tp / _attention_rate(on, stack)
    back = ahead * ATTENTION_BACKWARD
    if not part.fused_attention:
        unfused = _unfused(on, model, part, sequences)
        ahead, back = unfused
    rotated = 2.0 * part.tokens * (kind.query_width + 2 * kind.kv_heads * kind.head_dim) / part.tp
    keys = (kind.kv_rank + kind.rope_dim) if kind.kv_rank else 2 * kind.kv_heads * kind.head_dim / part.tp
    context = 2.0 * part.tokens * keys * (part.cp - 1)
    return _block(
        on, stack, model, part, kind.matrices(model.hidden), passes=(2 * rotated, 2 * rotated),
        attention=(ahead, back), context=context, expanding=kind.expanding / model.attention_parameters,
    )  # fmt: skip


def _attention_rate(on: Accelerator, stack: Stack) -> float:
    curves = on.curves
    return on.achieved_flops("bf16") * (
        curves.attention_share if stack.native_attention else curves.ported_attention_share
    )


def _unfused(on: Accelerator, model: Transformer, part: Slice, sequences: float) -> tuple[float, float]:
    """Scores written out, as before FlashAttention: full squares, softmax and dropout through memory."""
    squares = part.sequence**2 * sequences / part.cp
    values = squares * model.attention.heads / part.tp
    flops = squares * model.attention.pair_flops / part.tp / on.achieved_flops("bf16") / 0.6
    return flops + _memory(on, 11.0 * values), 2 * flops + _memory(on, 13.0 * values)


def _dense(on: Accelerator, stack: Stack, model: Transformer, part: Slice) -> tuple[Times, Times]:
    up = 2.0 * part.tokens * model.ffn * (model.ffn_factor - 1) / part.tp
    passes = (_ACTIVATION[0] * up, _ACTIVATION[1] * up)
    return _block(on, stack, model, part, model.dense_matrices(model.ffn), passes=passes)


def _experts(on: Accelerator, stack: Stack, model: Transformer, part: Slice) -> tuple[Times, Times]:
    """Routed experts see tokens of all expert-parallel ranks; shared ones are a dense block beside them."""
    experts = model.experts
    if experts is None:
        return Times(), Times()
    beside = model.dense_matrices(experts.shared_ffn) if experts.shared_ffn else ()
    if experts.latent:
        beside = (
            *beside,
            Matrix(model.hidden, experts.latent, "none"),
            Matrix(experts.latent, model.hidden, "none"),
        )
    shared = 2.0 * part.tokens * experts.shared_ffn * (model.ffn_factor - 1) / part.tp
    forward, backward = _block(
        on, stack, model, part, beside, passes=(_ACTIVATION[0] * shared, _ACTIVATION[1] * shared)
    )
    ahead, back = _routed(on, stack, model, part)
    started = stack.grouped * max(1, experts.count // part.ep)
    forward += ahead + Times(elementwise=stack.routing + started)
    backward += back + Times(elementwise=stack.routing + 2 * started)
    return forward, backward


def _routed(on: Accelerator, stack: Stack, model: Transformer, part: Slice) -> tuple[Times, Times]:
    experts = model.experts
    assert experts is not None  # noqa: S101 - for the type checker: the caller has looked
    wide = experts.latent or model.hidden
    own = part.tokens / part.along * experts.per_token  # rows that this device's experts see, balanced
    local = max(1, experts.count // part.ep)
    matrices = model.dense_matrices(experts.ffn, wide)
    alone = replace(part, tp=1)
    ahead, back = _products(on, matrices, own / local, alone, part.precision, batch=local)
    casts = _casts(stack, matrices, own, alone)
    up = 2.0 * own * experts.ffn * (model.ffn_factor - 1)
    scores = _ROUTER_PASSES * 4.0 * part.tokens / part.along * experts.count
    sorting = (4.0 * 2.0 * own * wide + scores) * stack.permute  # rows to and from the order of experts
    sent = 2.0 * own * wide * (part.ep - 1) / part.ep
    calls = 2.0 if part.ep > 1 else 0.0
    own = casts[0] + _ACTIVATION[0] * up * stack.passes
    forward = Times(
        ahead, 0.0, _memory(on, own + sorting), _memory(on, own), expert_bytes=2 * sent, expert_calls=calls
    )
    backward = Times(
        back, 0.0, _memory(on, casts[1] + _ACTIVATION[1] * up * stack.passes + sorting), expert_bytes=2 * sent,
        expert_calls=calls,
    )  # fmt: skip
    return forward, backward


def _mamba(on: Accelerator, stack: Stack, model: Transformer, part: Slice) -> tuple[Times, Times]:
    mamba = model.mamba
    if mamba is None:
        return Times(), Times()
    inner = mamba.heads * mamba.head_dim
    flops = part.tokens * mamba.scan_flops / part.tp
    scan = flops / (on.achieved_flops("bf16") * on.curves.scan_share)
    moved = 2.0 * part.tokens * (2 * inner + 2 * mamba.groups * mamba.state) / part.tp
    start = on.curves.start * stack.start
    forward, backward = _block(
        on, stack, model, part, mamba.matrices(model.hidden), passes=(4 * moved, 8 * moved),
        attention=(scan, 2.5 * scan),
    )  # fmt: skip
    return (
        forward + Times(elementwise=_SCAN_KERNELS[0] * start),
        backward + Times(elementwise=_SCAN_KERNELS[1] * start),
    )
