"""Layout: how a training is spread over devices. Workload: what is trained with.

Words are Megatron's: tensor, pipeline, context and expert parallelism (tp, pp, cp, ep); what is left is data
parallelism. Sharding follows ZeRO: of optimiser states, of gradients too, or of everything (FSDP).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

from stoker.errors import BadInput, Unfit
from stoker.perf.precision import Precision
from stoker.perf.transformer import Transformer
from stoker.typed import strict

Sharding = Literal["none", "optimiser", "gradients", "full"]
Recompute = Literal["none", "latents", "selective", "alternate", "full"]
States = Literal["mixed", "lean", "bf16", "frozen"]
SHARDINGS: tuple[Sharding, ...] = get_args(Sharding)
RECOMPUTES: tuple[Recompute, ...] = get_args(Recompute)


@strict
@dataclass(frozen=True)
class Workload:
    """What one optimiser step is made of."""

    global_batch: int  # sequences
    sequence: int  # tokens
    precision: Precision = "bf16"
    block_scaled: bool = False  # narrow formats scaled by block (MXFP8, NVFP4), else by tensor
    states: States = "mixed"  # mixed: float32 master weights, moments and gradients; lean: gradients in bf16;
    # bf16: all in bf16; frozen: adapters only
    logit_bytes: float = 6.0  # kept per logit: 4 for a loss in place, 6 for Megatron's, 14 for PyTorch's own
    fused_attention: bool = True  # FlashAttention and its kind; False keeps the squares of scores

    @property
    def tokens(self) -> int:
        return self.global_batch * self.sequence

    def __post_init__(self) -> None:
        for name in ("global_batch", "sequence"):
            if getattr(self, name) < 1:
                raise BadInput(f"{name} {getattr(self, name)} was given; it must be 1 or more", param=name)


@strict
@dataclass(frozen=True)
class Layout:
    """A training on `gpus` devices."""

    gpus: int
    tp: int = 1
    pp: int = 1
    cp: int = 1
    ep: int = 1
    virtual: int = 1  # stages that each pipeline rank holds; above 1: interleaved schedule
    micro_batch: int = 1
    sharding: Sharding = "optimiser"
    # selective: norms and activations (without fused attention: the core of attention); alternate: also every
    # second product, as PyTorch's selective checkpointing does; full: all but the inputs of layers
    recompute: Recompute = "none"
    recompute_share: float = 1.0  # with "full": of the layers
    sequence_parallel: bool = True  # norms split along the sequence within the tensor-parallel group
    shard_within: int = 0  # devices that shard one copy of the states; 0: all data-parallel ones

    def __post_init__(self) -> None:
        for name in ("gpus", "tp", "pp", "cp", "ep", "virtual", "micro_batch"):
            if getattr(self, name) < 1:
                raise BadInput(f"{name} {getattr(self, name)} was given; it must be 1 or more", param=name)

    @cached_property
    def dp(self) -> int:
        return max(1, self.gpus // (self.tp * self.pp * self.cp))

    @property
    def sharding_group(self) -> int:
        """Devices over which states are spread: data and context parallel ones."""
        return self.shard_within or self.dp * self.cp

    @property
    def expert_dp(self) -> int:
        """Copies of each expert."""
        return max(1, self.gpus // (self.pp * self.ep))

    def microbatches(self, workload: Workload) -> int:
        return max(1, workload.global_batch // (self.dp * self.micro_batch))

    def __str__(self) -> str:
        """``tp 8 x pp 4 x dp 2, micro-batch 1, interleaved 2``"""
        sizes = {"tp": self.tp, "pp": self.pp, "cp": self.cp, "ep": self.ep, "dp": self.dp}
        parts = [" x ".join(f"{name} {size}" for name, size in sizes.items() if size > 1 or name == "dp")]
        parts.append(f"micro-batch {self.micro_batch}")
        if self.virtual > 1:
            parts.append(f"interleaved {self.virtual}")
        if self.sharding == "full":
            parts.append("FSDP")
        if self.recompute != "none":
            parts.append(f"recompute {self.recompute}")
        return ", ".join(parts)


def check(model: Transformer, workload: Workload, layout: Layout) -> None:
    """Raises Unfit with the first reason for which `layout` cannot be: one line."""
    reason = impossible(model, workload, layout)
    if reason:
        raise Unfit(reason, param="layout")


def impossible(model: Transformer, workload: Workload, layout: Layout) -> str:
    """Why `layout` cannot be, empty when it can."""
    tp, pp, cp, ep = layout.tp, layout.pp, layout.cp, layout.ep
    if layout.gpus % (tp * pp * cp):
        return f"tp {tp} x pp {pp} x cp {cp} = {tp * pp * cp} does not divide {layout.gpus} devices"
    if model.attention_blocks and model.attention.heads % tp:
        return f"tp {tp} does not divide the {model.attention.heads} attention heads of {model.name}"
    if model.mamba and model.mamba.heads % tp:
        return f"tp {tp} does not divide the {model.mamba.heads} Mamba heads of {model.name}"
    if model.ffn % tp:
        return f"tp {tp} does not divide the feed-forward width {model.ffn} of {model.name}"
    if pp * layout.virtual > model.layers:
        return f"pp {pp} x {layout.virtual} stages are more than the {model.layers} layers of {model.name}"
    if layout.virtual > 1 and pp == 1:
        return f"{layout.virtual} stages a device need a pipeline (pp 2 or more)"
    return _impossible_sharing(model, workload, layout) or _impossible_experts(model, ep, layout)


def _impossible_sharing(model: Transformer, workload: Workload, layout: Layout) -> str:
    per_step = layout.dp * layout.micro_batch
    if workload.global_batch % per_step:
        return (
            f"a global batch of {workload.global_batch} sequences does not divide into dp {layout.dp} x "
            f"micro-batch {layout.micro_batch}"
        )
    if layout.cp > 1 and workload.sequence % (2 * layout.cp):
        return f"cp {layout.cp} needs a sequence that {2 * layout.cp} divides; {workload.sequence} was given"
    if model.mamba_blocks and layout.cp > 1 and model.mamba and model.mamba.heads % layout.cp:
        return f"cp {layout.cp} does not divide the {model.mamba.heads} Mamba heads of {model.name}"
    count = layout.microbatches(workload)
    if layout.virtual > 1 and count % layout.pp:
        return f"the interleaved schedule needs micro-batches ({count}) that pp {layout.pp} divides"
    return ""


def _impossible_experts(model: Transformer, ep: int, layout: Layout) -> str:
    if ep > 1 and model.experts is None:
        return f"ep {ep} was given, but {model.name} has no experts"
    if model.experts and model.experts.count % ep:
        return f"ep {ep} does not divide the {model.experts.count} experts of {model.name}"
    if layout.gpus % (ep * layout.pp):
        return f"ep {ep} x pp {layout.pp} does not divide {layout.gpus} devices"
    return ""
