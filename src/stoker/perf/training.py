"""What one training step of a decoder-only transformer costs, and how long it should take.

Per step with T tokens in the rows, Q query-key pairs that attention forms and V positions whose output is
compared with a target, on a model with P weights in its layers:

    forward   2 P T  +  4 heads head_dim Q layers  +  2 vocabulary hidden V
    backward  the same once more for the gradient of activations, and for weights that move another
              2 P T + 2 vocabulary hidden V; an adapter of A parameters adds 6 A T in all
    recompute one forward through the layers when gradients are checkpointed

(Kaplan et al. 2020, appendix B; Korthikanti et al. 2022 for recomputation.) Attention is counted as computed, not
as full or half squares. Besides arithmetic there are the passes over memory of norms, rotations, activations and
residuals, weights' copies and gradients, and the time it takes to start a layer's operations, which small models
feel: that is measured on a layer of the same operations with next to no arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass

from stoker.expectation import Expectation
from stoker.model import Architecture

# Counted in the forward pass of a gated-FFN layer as transformers runs it; each backward operation is about two.
_PASSES_HIDDEN = 36  # reads and writes of a [T, hidden] tensor: norms in float32, rotations, residuals, reshapes
_PASSES_FFN = 6  # of a [T, ffn] tensor: activation, product
_BACKWARD = 2.0
_ADAPTER_PASSES = 5  # reads and writes of its [T, outputs]: scaled (one each), then added (two reads, a write)
_ADAM_PASSES = 25  # over float32: decay 2, moments 3 + 5, root and division 6, step 4, norm and clipping 3, zero 2
_GRADIENT_PASSES = 3  # over float32, for each row: the new gradient is added to the one before
_LOW, _HIGH = 0.55, 1.25


@dataclass(frozen=True)
class Step:
    """The size of one optimiser step on one device."""

    tokens: int  # in all rows, T
    rows: int  # forward-backward passes
    pairs: int  # query-key pairs per head and layer, Q
    predictions: int  # V
    adapter_parameters: int  # A; 0 for full training
    adapted_matrices: int  # matrices with an adapter
    full: bool  # every weight moves
    recompute: bool  # gradients are checkpointed


@dataclass(frozen=True)
class Device:
    """What the device was measured to do, at the sizes of the model."""

    matmul: float  # FLOP/s of its largest matrix product: what MFU is a share of
    layer: float  # FLOP/s over all products of a layer, small ones included
    narrow: float  # FLOP/s of an adapter's products, which are as narrow as its rank
    copy: float  # bytes/s, read plus written
    layer_start: float  # s to start all operations of one layer, forward and backward
    adapter_start: float  # s more for each matrix with an adapter
    bytes_per_value: int  # of activations: 2 in bf16, 4 in float32


def flops(model: Architecture, step: Step) -> float:
    """Floating-point operations of one step."""
    layers = _layer_flops(model, step)
    logits = 2.0 * model.vocabulary * model.hidden * step.predictions
    weights = 2.0 * _layer_weights(model) * step.tokens + logits if step.full else 0.0
    return layers * (3 if step.recompute else 2) + 2 * logits + weights + _adapter_flops(step)


def seconds(model: Architecture, step: Step, device: Device) -> float:
    """How long one step should take, without waiting for data or other ranks."""
    adapter = _adapter_flops(step)
    arithmetic = (flops(model, step) - adapter) / device.layer + adapter / device.narrow
    adapted = step.adapted_matrices / model.layers
    width = (
        _PASSES_HIDDEN * model.hidden + _PASSES_FFN * model.ffn + adapted * _ADAPTER_PASSES * _mean_output(model)
    )
    passes = 1 + _BACKWARD + (1 if step.recompute else 0)
    traffic = passes * model.layers * step.tokens * width * device.bytes_per_value / device.copy
    starts = step.rows * (model.layers * device.layer_start + step.adapted_matrices * device.adapter_start)
    starts *= passes / (1 + _BACKWARD)
    return arithmetic + traffic + starts + _moving(model, step, device)


def expected_speed(model: Architecture, step: Step, device: Device, *, counted: int, ranks: int = 1) -> Expectation:
    """Tokens per second of all `ranks` together, for a step in which `counted` tokens are counted."""
    due = seconds(model, step, device)
    value = counted * ranks / due
    basis = (
        f"{counted * ranks:,} tokens / {due:.3g} s; {flops(model, step) / 1e9:,.0f} GFLOP per step "
        f"at {device.layer / 1e9:,.0f} GFLOP/s measured over a layer's products, "
        f"adapters at {device.narrow / 1e9:,.0f}, "
        f"memory passes at {device.copy / 1e9:,.0f} GB/s measured, "
        f"{device.layer_start * 1e3:.2g} ms to start a layer's operations measured"
    )
    return Expectation("tokens_per_s", value, value * _LOW, value * _HIGH, "tokens/s", basis)


def _layer_weights(model: Architecture) -> float:
    used = model.experts_per_token if model.experts else 1
    return model.layers * (model.attention_parameters + model.ffn_parameters * used)


def _layer_flops(model: Architecture, step: Step) -> float:
    attention = 4.0 * model.heads * model.head_dim * step.pairs * model.layers
    return 2.0 * _layer_weights(model) * step.tokens + attention


def _mean_output(model: Architecture) -> float:
    """Mean width of what a layer's seven matrices put out: Q, K, V, attention's output, gate, up, down."""
    query, keys = model.heads * model.head_dim, model.kv_heads * model.head_dim
    return (query + 2 * keys + 2 * model.hidden + 2 * model.ffn) / 7


def _adapter_flops(step: Step) -> float:
    return 6.0 * step.adapter_parameters * step.tokens


def _moving(model: Architecture, step: Step, device: Device) -> float:
    """What weights that move cost: copies in a narrower type and gradients for each row, AdamW once."""
    moving = model.parameters if step.full else step.adapter_parameters
    copies = 4 + device.bytes_per_value if step.full and device.bytes_per_value < 4 else 0
    each_row = _GRADIENT_PASSES * 4 + copies
    return moving * (_ADAM_PASSES * 4.0 + step.rows * each_row) / device.copy
