"""Memory of one device in a spread-out training, part by part.

States follow ZeRO (Rajbhandari et al. 2020). Activations follow Korthikanti et al. 2022, counted per block: what
the backward pass needs of each operation, with fused attention (no squares of scores), gated blocks, grouped and
latent keys, experts and Mamba. The first pipeline stage holds the most micro-batches, the last one the logits; the
larger of the two counts.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cache, lru_cache

from stoker.expectation import Expectation
from stoker.perf.accelerator import Accelerator
from stoker.perf.layout import Layout, Recompute, Workload
from stoker.perf.transformer import Transformer
from stoker.units import format_bytes

RUNTIME = 1.6 * 2**30  # driver context, libraries' workspaces, communicators' buffers
FRAGMENTATION = 0.04  # of what the allocator holds
LOW, HIGH = 0.93, 1.07
_STATES = {"mixed": (2.0, 4.0, 12.0), "lean": (2.0, 2.0, 12.0), "bf16": (2.0, 2.0, 4.0), "frozen": (2.0, 0.0, 0.0)}


@dataclass(frozen=True)
class DeviceMemory:
    """Bytes by part, on the device that needs most."""

    weights: float
    gradients: float
    optimiser: float
    activations: float
    logits: float
    buffers: float  # gathered weights, gradients under way
    runtime: float = RUNTIME

    @property
    def fragmentation(self) -> float:
        return FRAGMENTATION * (self.activations + self.logits + self.buffers)

    @property
    def allocated(self) -> float:
        """What the framework's allocator holds: without driver and libraries."""
        return self.total - self.runtime

    @property
    def total(self) -> float:
        return sum(self.parts().values())

    def parts(self) -> dict[str, float]:
        named = {part.name: getattr(self, part.name) for part in fields(self)}
        return {**named, "fragmentation": self.fragmentation}

    def sentence(self) -> str:
        """``weights 1.3 GiB + gradients 2.6 GiB + ... = 31.0 GiB``"""
        shown = " + ".join(f"{name} {format_bytes(size)}" for name, size in self.parts().items() if size)
        return f"{shown} = {format_bytes(self.total)}"

    def expectation(self, basis: str = "") -> Expectation:
        more = f"; {basis}" if basis else ""
        return Expectation("memory", self.total, self.total * LOW, self.total * HIGH, "B", self.sentence() + more)


def device_memory(model: Transformer, workload: Workload, layout: Layout) -> DeviceMemory:
    """What the fullest device holds at the worst moment of a step."""
    first = _stage(model, workload, layout, last=layout.pp == 1)
    if layout.pp == 1:
        return first
    last = _stage(model, workload, layout, last=True)
    return first if first.total >= last.total else last


def fits(memory: DeviceMemory, on: Accelerator) -> bool:
    """Whether it fits for certain: the upper bound counts, since a training that dies at step 900 is worse."""
    return memory.total * HIGH <= on.memory_bytes


def _stage(model: Transformer, workload: Workload, layout: Layout, *, last: bool) -> DeviceMemory:
    dense, expert, block = stage_parameters(model, layout, last)
    weights, gradients, optimiser = _STATES[workload.states]
    group, expert_group = layout.sharding_group, max(1, min(layout.expert_dp, layout.sharding_group))

    def spread(size: float, sharded: bool) -> float:
        return size * (dense / group + expert / expert_group if sharded else dense + expert)

    full, frozen = layout.sharding == "full", workload.states == "frozen"
    master = (
        2.0 if full and not frozen and workload.states in ("mixed", "lean") else 0.0
    )  # FSDP keeps float32 weights alone
    in_flight = in_flight_microbatches(layout, workload, last=last)
    return DeviceMemory(
        weights=spread(weights, full),
        gradients=spread(gradients, layout.sharding in ("gradients", "full")),
        optimiser=spread(optimiser - master, layout.sharding != "none"),
        activations=_activations(model, workload, layout, in_flight),
        logits=_logits(model, workload, layout) if last else 0.0,
        buffers=_buffers(model, workload, layout, block),
    )


def _buffers(model: Transformer, workload: Workload, layout: Layout, block: float) -> float:
    """With FSDP the block in use, the next one, and gradients of the one before; gathered inputs of products."""
    weights = 3 * 2.0 * block if layout.sharding == "full" else 0.0
    if layout.tp == 1 or not layout.sequence_parallel:
        return weights
    tokens = layout.micro_batch * workload.sequence / layout.cp
    return weights + 3 * 2.0 * tokens * model.hidden  # of attention, of the feed-forward block, and a gradient


@lru_cache(maxsize=65536)
def _shares(model: Transformer, tp: int, ep: int) -> tuple[float, float]:
    """Parameters of the whole stack on one tensor-parallel rank: without routed experts, and of those."""
    return model.stack_parameters / tp, model.routed_parameters / ep


def stage_parameters(model: Transformer, layout: Layout, last: bool) -> tuple[float, float, float]:
    """Parameters on a device of the first (or last) stage: dense ones, routed ones, and of one gathered block."""
    stack, routed = _shares(model, layout.tp, layout.ep)
    embeddings = model.embedding_parameters / layout.tp
    ends = embeddings * (1 if layout.pp > 1 or model.tied_embeddings else 2)
    if last and model.extra_predictions:
        ends += model.extra_layers * (stack + routed) / model.layers
    block = (stack + routed) / model.layers
    return stack / layout.pp + ends, routed / layout.pp, block


def in_flight_microbatches(layout: Layout, workload: Workload, *, last: bool) -> float:
    """Micro-batches whose activations a device holds at once, in units of its own layers."""
    if layout.pp == 1:
        return 1.0
    if last:
        return 1.0 if layout.virtual == 1 else 1.0 + (layout.virtual - 1) / layout.virtual
    count = layout.microbatches(workload)
    if layout.virtual == 1:
        return float(min(layout.pp, count))
    return min(float(count), layout.pp * (1 + (layout.pp - 1) / (layout.pp * layout.virtual)))


def _activations(model: Transformer, workload: Workload, layout: Layout, in_flight: float) -> float:
    tokens = layout.micro_batch * workload.sequence / layout.cp
    narrow = workload.precision in ("fp8", "fp4")
    kept, inputs = activation_bytes(model, layout.tp, layout.sequence_parallel, narrow)
    if not workload.fused_attention and layout.recompute == "none":
        kept += 5.0 * model.attention.heads * workload.sequence / layout.tp * model.attention_blocks
    again = layout.recompute_share if layout.recompute == "full" else 0.0
    working = 0.0
    if again:
        working = 2 * kept / model.layers  # the layer that is recomputed, and gradients of the same size
    if again or (layout.recompute in ("selective", "alternate") and workload.fused_attention):
        kept -= cheap_bytes(model, layout.tp, layout.sequence_parallel, narrow)
    if layout.recompute in ("latents", "selective"):
        kept -= expanded_bytes(model, layout.tp)
    if layout.recompute == "alternate":
        kept /= 1.5  # products' outputs are two thirds of what is left, and every second of them comes again
    return tokens * ((kept * (1 - again) + inputs * again) / layout.pp * in_flight + working)


@lru_cache(maxsize=65536)
def activation_bytes(model: Transformer, tp: int, split: bool, narrow: bool) -> tuple[float, float]:
    """Bytes per token that the backward pass of the whole stack needs, and of its layers' inputs alone."""
    along = tp if split else 1
    attention = _attention_bytes(model, tp, along, narrow) * model.attention_blocks
    dense = _ffn_bytes(model.hidden, model.ffn, model.ffn_factor, tp, along, narrow) * model.dense_blocks
    experts = _expert_bytes(model, tp, along, narrow) * model.expert_blocks
    mamba = _mamba_bytes(model, tp, along, narrow) * model.mamba_blocks
    return attention + dense + experts + mamba, 2.0 * model.hidden * model.layers / along


@lru_cache(maxsize=65536)
def cheap_bytes(model: Transformer, tp: int, split: bool, narrow: bool) -> float:
    """Bytes per token that come again from norms and activations alone: what products read."""
    along, width = tp if split else 1, 1.0 if narrow else 2.0
    norms = (model.attention_blocks + model.dense_blocks + model.expert_blocks + model.mamba_blocks) * model.hidden
    activated = model.dense_blocks * model.ffn / tp
    if model.experts:
        wide = model.experts.shared_ffn / tp + model.experts.per_token * model.experts.ffn / along
        activated += model.expert_blocks * wide
    return width * (norms / along + activated)


def expanded_bytes(model: Transformer, tp: int) -> float:
    """Bytes per token of queries, keys and values that come again from the latents, which are kept."""
    kind = model.attention
    return model.attention_blocks * 2.0 * (2 * kind.query_width + kind.value_width) / tp if kind.expanding else 0.0


def _attention_bytes(model: Transformer, tp: int, along: int, narrow: bool) -> float:
    kind, hidden, width = model.attention, model.hidden, 1.0 if narrow else 2.0
    outside = (2.0 + width) * hidden / along  # the norm's input, and the first product's
    keys = kind.query_width if kind.kv_rank else kind.kv_heads * kind.head_dim
    values = kind.value_width if kind.kv_rank else keys
    inside = 2.0 * (kind.query_width + keys + values + kind.value_width) + 4.0 * kind.heads
    inside += width * kind.value_width if narrow else 0.0
    return outside + inside / tp + 2.0 * (kind.q_rank + kind.kv_rank) * 2


def _ffn_bytes(hidden: int, ffn: int, factor: int, tp: int, along: int, narrow: bool) -> float:
    width = 1.0 if narrow else 2.0
    return (2.0 + width) * hidden / along + (2.0 * (factor - 1) + width) * ffn / tp


def _expert_bytes(model: Transformer, tp: int, along: int, narrow: bool) -> float:
    """Tokens arrive at as many experts as each is sent to; balanced routing."""
    if model.experts is None:
        return 0.0
    width, experts, factor = 1.0 if narrow else 2.0, model.experts, model.ffn_factor
    wide = experts.latent or model.hidden
    routed = experts.per_token * (width * wide + (2.0 * (factor - 1) + width) * experts.ffn) / along
    return _ffn_bytes(model.hidden, experts.shared_ffn, factor, tp, along, narrow) + routed


def _mamba_bytes(model: Transformer, tp: int, along: int, narrow: bool) -> float:
    if model.mamba is None:
        return 0.0
    mamba, width = model.mamba, 1.0 if narrow else 2.0
    inner, states = mamba.heads * mamba.head_dim, 2 * mamba.groups * mamba.state
    carried = 4.0 * inner * mamba.state / mamba.chunk  # a float32 state for each chunk
    inside = 2.0 * (2 * inner + states) + 2.0 * (inner + states) + (2.0 + width) * inner + carried
    return (2.0 + width) * model.hidden / along + inside / tp


def _logits(model: Transformer, workload: Workload, layout: Layout) -> float:
    """Logits of one micro-batch and what the loss keeps of them."""
    tokens = layout.micro_batch * workload.sequence / layout.cp
    return tokens * model.vocabulary / layout.tp * workload.logit_bytes


def lightest_recompute(model: Transformer, workload: Workload, layout: Layout, on: Accelerator) -> Layout:
    """`layout` with the least recomputation that fits, as it is when nothing helps.

    What latents expand to comes again first, then norms and activations, then eighths of the layers.
    """
    for recompute, share in degrees(model, 8):
        lighter = replace(layout, recompute=recompute, recompute_share=share)
        if fits(device_memory(model, workload, lighter), on):
            return lighter
    return layout


@cache
def degrees(model: Transformer, steps: int) -> tuple[tuple[Recompute, float], ...]:
    """Kinds of recomputation and shares of the layers, the cheapest first; whole layers in so many `steps`."""
    latents: tuple[tuple[Recompute, float], ...] = (("latents", 1.0),) if model.attention.expanding else ()
    whole: list[tuple[Recompute, float]] = [("full", step / steps) for step in range(1, steps + 1)]
    return (("none", 1.0), *latents, ("selective", 1.0), *whole)
