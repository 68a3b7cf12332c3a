"""How long matrix products, attention, elementwise passes and the optimiser take on one accelerator.

Functions named ``..._seconds`` return plain seconds and are cheap: planners call them a million times. `gemm` and
`hbm` say the same as Expectations, with bounds and the formula.
"""

from __future__ import annotations

from stoker.expectation import Expectation
from stoker.perf.accelerator import Accelerator
from stoker.perf.precision import BYTES, Precision

SPREAD = 0.08  # of one kernel, between cards, libraries and shapes of the same size


def gemm_seconds(
    on: Accelerator, m: int, n: int, k: int, precision: Precision, *, batch: int = 1, output_bytes: float = 2.0
) -> float:
    """`batch` products [m, k] x [k, n] in one kernel; results take `output_bytes` a value."""
    curves = on.curves
    moved = batch * (BYTES[precision] * (m * k + n * k) + output_bytes * m * n)
    arithmetic = 2.0 * m * n * k * batch / on.kept_flops(precision)
    streaming = moved / on.achieved_bandwidth
    return curves.start + max(arithmetic + curves.unhidden * streaming, streaming)


def hbm_seconds(on: Accelerator, moved: float) -> float:
    """`moved` bytes, read and written, through the accelerator's memory."""
    return on.curves.start + moved / on.achieved_bandwidth


def attention_seconds(on: Accelerator, pairs: float, heads: int, head_dim: int, precision: Precision) -> float:
    """Forward pass of fused attention over `pairs` query-key pairs per head: 4 heads head_dim pairs FLOP."""
    flops = 4.0 * pairs * heads * head_dim
    return on.curves.start + flops / (on.achieved_flops(precision) * on.curves.attention_share)


def gemm(on: Accelerator, m: int, n: int, k: int, precision: Precision) -> Expectation:
    """The rate of one matrix product, FLOP/s."""
    seconds = gemm_seconds(on, m, n, k, precision)
    value = 2.0 * m * n * k / seconds
    kept = on.kept_flops(precision) / on.achieved_flops(precision)
    basis = (
        f"2 x {m:,} x {n:,} x {k:,} FLOP / {seconds * 1e6:,.1f} us; peak {on.peak[precision]}; large ones reach "
        f"{on.achieved_flops(precision) / on.peak_flops(precision):.0%} of it and keep {kept:.0%} of "
        f"that; {on.curves.unhidden:.2f} of the operands' traffic is not hidden; memory {on.memory_bandwidth} x "
        f"{on.curves.memory_share:.2f}; start {on.curves.start * 1e6:.1f} us"
    )
    return Expectation("gemm", value, value * (1 - SPREAD), value * (1 + SPREAD), "FLOP/s", basis)


def hbm(on: Accelerator, moved: float) -> Expectation:
    """The rate at which `moved` bytes stream through memory, bytes/s."""
    value = moved / hbm_seconds(on, moved)
    basis = (
        f"{moved:,.0f} B read and written; {on.memory_bandwidth} x {on.curves.memory_share:.2f} that streaming "
        f"kernels reach; start {on.curves.start * 1e6:.1f} us"
    )
    return Expectation("memory_bandwidth", value, value * (1 - SPREAD), value * (1 + SPREAD), "B/s", basis)
