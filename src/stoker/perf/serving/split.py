"""Split: how one replica is spread over devices."""

from __future__ import annotations

from dataclasses import dataclass

from stoker.errors import BadInput, Unfit
from stoker.perf.transformer import Transformer
from stoker.typed import strict


@strict
@dataclass(frozen=True)
class Split:
    """Tensor parallelism within an attention group, data-parallel attention over `adp` groups, pipeline stages.

    The tp x adp devices of a stage hold the experts together: `ep` of them whole, each expert cut by the rest.
    """

    tp: int = 1
    pp: int = 1
    ep: int = 1
    adp: int = 1

    def __post_init__(self) -> None:
        for name in ("tp", "pp", "ep", "adp"):
            if getattr(self, name) < 1:
                raise BadInput(f"{name} {getattr(self, name)} was given; it must be 1 or more", param=name)

    @property
    def stage(self) -> int:
        """Devices of one pipeline stage."""
        return self.tp * self.adp

    @property
    def devices(self) -> int:
        return self.stage * self.pp

    @property
    def expert_tp(self) -> int:
        """How many devices cut one expert."""
        return max(1, self.stage // self.ep)

    def __str__(self) -> str:
        sizes = {"tp": self.tp, "pp": self.pp, "ep": self.ep, "attention-dp": self.adp}
        return " x ".join(f"{name} {size}" for name, size in sizes.items() if size > 1 or name == "tp")


def check(model: Transformer, split: Split) -> None:
    """Raises Unfit with the first reason for which `split` cannot be: one line."""
    reason = impossible(model, split)
    if reason:
        raise Unfit(reason, param="split")


def impossible(model: Transformer, split: Split) -> str:
    """Why `split` cannot be, empty when it can."""
    heads = model.attention.heads
    if heads % split.tp:
        return f"tp {split.tp} does not divide the {heads} attention heads of {model.name}"
    if model.ffn and model.dense_blocks and model.ffn % split.tp:
        return f"tp {split.tp} does not divide the feed-forward width {model.ffn} of {model.name}"
    if split.pp > model.layers:
        return f"pp {split.pp} is more than the {model.layers} layers of {model.name}"
    if model.experts is None:
        return f"ep {split.ep} was given, but {model.name} has no experts" if split.ep > 1 else ""
    if split.ep > model.experts.count:
        return f"ep {split.ep} is more than the {model.experts.count} experts of {model.name}"
    if split.stage % split.ep:
        return f"ep {split.ep} does not divide the {split.stage} devices of a stage"
    return ""
