"""How long one optimiser step takes when a training is spread over devices, part by part.

    step = micro-batches x (forward + backward + what communication is not hidden)
         + bubble + gradients and weights between copies + optimiser + the rest

The bubble of a pipeline is (pp - 1) / virtual micro-batches of the slowest stage (Narayanan et al. 2021).
Recomputing adds one forward pass. What is hidden behind compute is the stack's (see perf/stack.py).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import ceil, log2

from stoker.perf.accelerator import Accelerator
from stoker.perf.blocks import Times, head, layers, slice_of
from stoker.perf.exchange import all_to_all_seconds, gather_seconds, neighbour_seconds
from stoker.perf.hardware import Hardware
from stoker.perf.layout import Layout, Workload
from stoker.perf.layout_memory import stage_parameters
from stoker.perf.stack import Stack
from stoker.perf.transformer import Transformer

# Bytes that AdamW reads and writes for each parameter: gradient, master weight and two moments; new weight in bf16.
_ADAM = {"mixed": 30.0, "lean": 28.0, "bf16": 16.0, "frozen": 0.0}


@dataclass(frozen=True)
class StepTime:
    """Seconds of one step by part; communication only as far as compute does not hide it."""

    products: float
    attention: float
    elementwise: float
    recompute: float
    tensor: float
    expert: float
    context: float
    pipeline: float
    data: float
    bubble: float
    optimiser: float
    other: float

    @property
    def total(self) -> float:
        return sum(self.parts().values())

    def parts(self) -> dict[str, float]:
        return {part.name: getattr(self, part.name) for part in fields(self)}


def step_time(
    on: Hardware,
    stack: Stack,
    model: Transformer,
    workload: Workload,
    layout: Layout,
    *,
    card: Accelerator | None = None,
) -> StepTime:
    """Raises Unfit when the hardware lacks a link that the layout needs.

    `card`: computes in place of the hardware's own (calibration tries many curves on the same links).
    """
    card = card or on.accelerator
    part = slice_of(workload, layout.micro_batch, layout.tp, layout.cp, layout.ep, layout.sequence_parallel)
    forward, backward = layers(card, stack, model, part)
    ends = head(card, stack, model, part)
    share = _slowest_stage(model, layout, forward.compute + backward.compute, ends[0].compute + ends[1].compute)
    count = layout.microbatches(workload)
    ahead, back = forward.times(share.layers), backward.times(share.layers)
    if share.head:
        ahead, back = ahead + ends[0], back + ends[1]
    again = _recomputed(ahead, workload, layout)
    everything = ahead + back + again
    sent = _sent(on, stack, model, workload, layout, everything)
    once = everything.compute + sum(sent.values())
    bubble = once * (layout.pp - 1) / layout.virtual
    data = _data(on, stack, model, workload, layout, ahead.compute, back.compute + again.compute, count)
    optimiser = _optimiser(card, stack, model, workload, layout)
    jitter = stack.jitter * max(0.0, log2(layout.gpus / 8)) * once * count
    return StepTime(
        products=(ahead.products + back.products) * count,
        attention=(ahead.attention + back.attention) * count,
        elementwise=(ahead.elementwise + back.elementwise) * count,
        recompute=again.compute * count,
        tensor=sent["tensor"] * count,
        expert=sent["expert"] * count,
        context=sent["context"] * count,
        pipeline=sent["pipeline"] * count,
        data=data,
        bubble=bubble,
        optimiser=optimiser,
        other=stack.step + jitter,
    )


@dataclass(frozen=True)
class _Stage:
    layers: float  # share of all layers
    head: bool


def _slowest_stage(model: Transformer, layout: Layout, stack_time: float, head_time: float) -> _Stage:
    """Stages are cut by whole layers, the short ones at the ends; the last one has the output, too."""
    if layout.pp == 1:
        return _Stage(1.0, head=True)
    chunks = layout.pp * layout.virtual
    most = ceil(model.layers / chunks) * layout.virtual
    short = min(most, most * layout.pp - model.layers)
    layer_time = stack_time / model.layers
    if (most - short) * layer_time + head_time > most * layer_time:
        return _Stage((most - short) / model.layers, head=True)
    return _Stage(most / model.layers, head=False)


def _recomputed(ahead: Times, workload: Workload, layout: Layout) -> Times:
    """Selective: what is cheap to repeat and what latents expand to; without fused attention attention's core."""
    if layout.recompute == "full":
        return ahead.times(layout.recompute_share)
    if layout.recompute == "alternate":
        return Times(products=0.5 * ahead.products, elementwise=ahead.elementwise)
    if layout.recompute == "latents":
        return Times(products=ahead.expanding)
    if layout.recompute == "selective":
        return (
            Times(products=ahead.expanding, elementwise=ahead.cheap)
            if workload.fused_attention
            else Times(attention=ahead.attention)
        )
    return Times()


def _sent(
    on: Hardware, stack: Stack, model: Transformer, workload: Workload, layout: Layout, times: Times
) -> dict[str, float]:
    """Seconds of one micro-batch's communication that compute does not hide."""
    tokens = layout.micro_batch * workload.sequence / layout.cp
    plain = bool(model.expert_blocks or model.mamba_blocks)
    copies = model.experts.per_token if model.experts else 1
    tensor = gather_seconds(on, times.tensor_bytes, layout.tp, 1, times.tensor_calls)
    expert = all_to_all_seconds(on, times.expert_bytes, layout.ep, times.expert_calls, copies)
    context = gather_seconds(on, times.context_bytes, layout.cp, layout.tp, model.attention_blocks / layout.pp)
    pipeline = 0.0
    if layout.pp > 1:
        sent = 2.0 * 2.0 * tokens * model.hidden / layout.tp * layout.virtual  # each tensor-parallel rank its part
        pipeline = neighbour_seconds(on, sent, 2.0 * layout.virtual)
    return {
        "tensor": (stack.tensor_plain if plain else stack.tensor_exposed) * tensor,
        "expert": stack.expert_exposed * expert,
        "context": stack.context_exposed * context,
        "pipeline": stack.pipeline_exposed * pipeline,
    }


def _data(
    on: Hardware,
    stack: Stack,
    model: Transformer,
    workload: Workload,
    layout: Layout,
    ahead: float,
    back: float,
    count: int,
) -> float:
    """Gradients to and weights from their owners, as far as compute does not hide it."""
    if workload.states == "frozen":
        return 0.0
    dense, routed, _ = stage_parameters(model, layout, last=False)
    ranks, stride = layout.dp * layout.cp, layout.tp
    calls = 4.0 * model.layers / layout.pp if layout.sharding == "full" else 2.0

    def once(size: float, group: int, apart: int) -> float:
        """One pass of all weights, or of all gradients, in bf16."""
        return gather_seconds(on, 2.0 * size * (group - 1) / group, group, apart, calls / 2) if group > 1 else 0.0

    each = once(dense, ranks, stride) + once(routed, layout.expert_dp, layout.ep)
    if layout.sharding == "full":
        hidden = _exposed(stack, each, ahead) + _exposed(stack, 2 * each, back)
        return count * hidden
    if layout.sharding == "none":
        return _exposed(stack, 2 * each, back)
    return _exposed(stack, each, back) + _exposed(stack, each, ahead)


def _exposed(stack: Stack, sent: float, window: float) -> float:
    """At least a share of it, and all that does not fit beside compute."""
    return max(stack.data_exposed * sent, sent - window)


def _optimiser(card: Accelerator, stack: Stack, model: Transformer, workload: Workload, layout: Layout) -> float:
    dense, routed, _ = stage_parameters(model, layout, last=False)
    if layout.sharding != "none":
        dense, routed = dense / layout.sharding_group, routed / layout.expert_dp
    moved = _ADAM[workload.states] * (dense + routed)
    return stack.optimiser_passes * moved / card.achieved_bandwidth
