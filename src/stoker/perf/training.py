"""What one training step of a decoder-only transformer costs, and how long it should take.

Per step with T tokens in the rows, Q query-key pairs that attention forms and V positions whose output is
compared with a target, on a model with P weights in its layers:

    forward   2 P T  +  4 heads head_dim Q layers  +  2 vocabulary hidden V
    backward  the same once more for the gradient of activations, and for weights that move another
              2 P T + 2 vocabulary hidden V; an adapter of A parameters adds 6 A T in all
    recompute one forward through the layers when gradients are checkpointed

(Kaplan et al. 2020, appendix B; Korthikanti et al. 2022 for recomputation.) Attention is counted as computed, not
as full or half squares.

Arithmetic alone says little of a CPU: norms, casts, activations, an adapter's narrow products and the start of
each operation take as long as the large products, and the loss passes over the vocabulary in float32. So what is
measured is one layer and the two ends of the model, each for few and for many tokens; a step of R rows, N layers:

    N (R layer.start + T layer.each + Q pair)  +  R ends.start + V ends.each  +  the optimiser
"""

from __future__ import annotations

from dataclasses import dataclass

from stoker.expectation import Expectation
from stoker.model import Architecture

_GRADIENT_PASSES = 3  # over float32, for each further row: the new gradient is added to the one before
# benchmarks/training_cpu.py is off by 10 %; neighbours in caches and on memory take more.
_LOW, _HIGH = 0.75, 1.25


@dataclass(frozen=True)
class Step:
    """The size of one optimiser step on one device."""

    tokens: int  # in all rows, T
    rows: int  # forward-backward passes
    pairs: int  # query-key pairs per head and layer, Q
    predictions: int  # V
    adapter_parameters: int  # A; 0 for full training
    full: bool  # every weight moves
    recompute: bool  # gradients are checkpointed


@dataclass(frozen=True)
class Line:
    """Seconds that grow with a size: start + size x each."""

    start: float
    each: float

    def at(self, size: float, times: int) -> float:
        """Seconds for `size` in all, in `times` pieces."""
        return times * self.start + size * self.each


@dataclass(frozen=True)
class Device:
    """What the device was measured to do, at the sizes of the model and in the training's type."""

    matmul: float  # FLOP/s of the model's largest matrix product: what MFU is a share of
    copy: float  # bytes/s, read plus written
    layer: Line  # one layer forward and backward, adapters included, by tokens; attention's core left out
    pair: float  # s of attention's core for each query-key pair, all heads of one layer, forward and backward
    ends: Line  # embedding, output and loss, by positions whose output is trained
    moved: float  # s for each parameter that moves, once a step: clipping and AdamW


def flops(model: Architecture, step: Step) -> float:
    """Floating-point operations of one step."""
    layers = _layer_flops(model, step)
    logits = 2.0 * model.vocabulary * model.hidden * step.predictions
    weights = 2.0 * _layer_weights(model) * step.tokens + logits if step.full else 0.0
    return layers * (3 if step.recompute else 2) + 2 * logits + weights + _adapter_flops(step)


@dataclass(frozen=True)
class StepSeconds:
    """Seconds of one step by part."""

    layers: float
    attention: float
    ends: float
    optimiser: float

    @property
    def total(self) -> float:
        return self.layers + self.attention + self.ends + self.optimiser


def seconds(model: Architecture, step: Step, device: Device) -> StepSeconds:
    """How long one step should take, without waiting for data or other ranks."""
    moving = model.parameters if step.full else step.adapter_parameters
    added = (step.rows - 1) * _GRADIENT_PASSES * 4 / device.copy
    return StepSeconds(
        layers=model.layers * device.layer.at(step.tokens, step.rows),
        attention=model.layers * step.pairs * device.pair,
        ends=device.ends.at(step.predictions, step.rows),
        optimiser=moving * (device.moved + added),
    )


def expected_speed(model: Architecture, step: Step, device: Device, *, counted: int, ranks: int = 1) -> Expectation:
    """Tokens per second of all `ranks` together, for a step in which `counted` tokens are counted."""
    due = seconds(model, step, device)
    value = counted * ranks / due.total
    arithmetic = flops(model, step)
    basis = (
        f"{counted * ranks:,} tokens / {due.total:.3g} s: "
        f"{model.layers} layers {due.layers:.3g} s, attention {due.attention:.3g} s, "
        f"output and loss {due.ends:.3g} s, optimiser {due.optimiser:.3g} s, "
        f"from a layer and both ends measured alone; {arithmetic / 1e9:,.0f} GFLOP per step "
        f"at {device.matmul / 1e9:,.0f} GFLOP/s measured of the largest product would take "
        f"{arithmetic / device.matmul:.3g} s"
    )
    return Expectation("tokens_per_s", value, value * _LOW, value * _HIGH, "tokens/s", basis)


def _layer_weights(model: Architecture) -> float:
    used = model.experts_per_token if model.experts else 1
    return model.layers * (model.attention_parameters + model.ffn_parameters * used)


def _layer_flops(model: Architecture, step: Step) -> float:
    attention = 4.0 * model.heads * model.head_dim * step.pairs * model.layers
    return 2.0 * _layer_weights(model) * step.tokens + attention


def _adapter_flops(step: Step) -> float:
    return 6.0 * step.adapter_parameters * step.tokens
