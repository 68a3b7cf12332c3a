"""Step: seconds of one pass. The slower of arithmetic and memory, softly joined; kernels, collectives, the engine.

An operation of b bytes and f FLOP in k kernels takes

    k x kernel + ((b / (bandwidth x share))^3 + (f / (achieved x share))^3)^(1/3)

and a prefill is no faster than the host can start its kernels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from stoker.perf.accelerator import Accelerator
from stoker.perf.collective import Kind
from stoker.perf.hardware import Hardware
from stoker.perf.precision import Precision
from stoker.perf.serving.curves import Curves
from stoker.perf.serving.links import message_seconds
from stoker.perf.serving.quantisation import QUANTISATIONS, Quantisation
from stoker.perf.serving.split import Split
from stoker.perf.serving.work import ACTIVATION, Batch, Operation, operations
from stoker.perf.transformer import Transformer

_SHARP = 3.0
KINDS: dict[str, Kind] = {"reduce": "all_reduce", "exchange": "all_to_all", "hand": "send_recv"}


@dataclass(frozen=True, eq=False)
class Replica:
    """One copy of a model on some devices, served by one engine."""

    model: Transformer
    on: Accelerator
    split: Split
    quantisation: Quantisation
    curves: Curves
    domain: int = 8  # devices that the scale-up link joins
    network: float = 50e9  # bytes/s of one device, one way, to other servers
    server: int = 8  # devices of a server: what no scale-up link joins meets over PCIe
    early: bool = False  # a release of the engine from the first year of the card's architecture

    @property
    def unripe(self) -> float:
        """How much longer kernels of models with experts take than in later releases."""
        return self.curves.common.early if self.early and self.model.experts and _young(self.on) else 1.0

    @property
    def cached(self) -> float:
        """Bytes of one cached value, as engines keep it when they are not told otherwise."""
        narrow = self.on.supports("fp8") and (self.on.supports("fp4") or not self.curves.engine.keeps_sixteen_bits)
        return self.quantisation.cached if narrow else 2.0

    @classmethod
    def on_hardware(
        cls, model: Transformer, hardware: Hardware, split: Split, quantisation: Quantisation, curves: Curves
    ) -> Replica:
        network = hardware.network_per_accelerator or 50e9
        domain, card = hardware.scale_up_domain, hardware.accelerator
        return cls(model, card, split, quantisation, curves, domain, network, hardware.per_server)


def decode_seconds(replica: Replica, sequences: float, past: float) -> float:
    """One token for each of `sequences`, each with `past` tokens behind it."""
    engine, stages = replica.curves.engine, replica.split.pp
    group = max(1.0, sequences / stages)
    batch = Batch(group, past, sequences=group)
    work = sum(_seconds(replica, one) + _starts(replica, one) for one in _operations(replica, batch))
    return work + engine.step * stages + engine.sequence * sequences / replica.split.adp


@dataclass(frozen=True)
class Prefill:
    """Seconds of a prefill: of the device, and of the host, which starts kernels one by one meanwhile."""

    device: float
    host: float

    @property
    def latency(self) -> float:
        """Until its answer is there, and other steps can go on."""
        return math.hypot(self.device, self.host)


def prefill_seconds(replica: Replica, tokens: float, prompt: float) -> Prefill:
    """`tokens` of prompts, each `prompt` long, in passes of at most the engine's chunk for each attention group."""
    engine = replica.curves.engine
    groups = min(replica.split.adp, max(1.0, tokens / prompt))
    passes = max(1.0, tokens / (engine.chunk * groups))
    part = tokens / passes
    pairs = part * min(prompt, tokens) / 2.0
    batch = Batch(part, pairs=pairs, sequences=max(1.0, part / prompt), decode=False)
    device, host = 0.0, replica.model.expert_blocks * engine.experts
    for one in _operations(replica, batch):
        device += _seconds(replica, one)
        host += one.times * one.kernels * engine.eager
    device += engine.step
    return Prefill(passes * device, passes * host)


def _operations(replica: Replica, batch: Batch) -> tuple[Operation, ...]:
    return tuple(
        operations(replica.model, replica.split, replica.quantisation, batch, replica.curves.common, replica.cached)
    )


def _starts(replica: Replica, one: Operation) -> float:
    return one.times * one.kernels * replica.curves.engine.kernel * replica.unripe


def _seconds(replica: Replica, one: Operation) -> float:
    if one.kind in KINDS:
        return one.times * _message(replica, one)
    common, on = replica.curves.common, replica.on
    bandwidth = float(on.memory_bandwidth or 0.0) or 1.0
    if one.kind in ("weights", "experts", "passes"):
        memory, arithmetic = common.weights * bandwidth, _rate(replica, one.formats)
        arithmetic *= common.grouped if one.kind == "experts" else 1.0
        memory *= _streaming(replica, QUANTISATIONS[one.formats])
    else:
        memory, arithmetic = common.cache * bandwidth, on.achieved_flops(_attends(replica)) * common.scores
    a, b = one.moved / memory, one.flops / arithmetic
    longer = max(a, b)
    if not longer:
        return 0.0
    if one.kind == "experts":
        longer *= replica.unripe
        a, b = a * replica.unripe, b * replica.unripe
    return one.times * longer * math.pow(math.pow(a / longer, _SHARP) + math.pow(b / longer, _SHARP), 1.0 / _SHARP)


def _attends(replica: Replica) -> Precision:
    """Units that multiply queries and keys: eight bits where the cache has them, but for latent attention."""
    eight = replica.cached < ACTIVATION and not replica.model.attention.kv_rank
    return QUANTISATIONS["fp8" if eight else "bf16"].units(replica.on)  # fp16 on cards before bf16


def _young(on: Accelerator) -> bool:
    """Blackwell, whose kernels were written in 2025."""
    return on.architecture.startswith("sm1")


def _streaming(replica: Replica, quantisation: Quantisation) -> float:
    """Weights of four bits stream slower, and slower again when no unit multiplies them as they are."""
    common = replica.curves.common
    if quantisation.weight >= 1.0:
        return 1.0
    return common.packed if quantisation.units(replica.on) == "fp4" else common.unpack


def _rate(replica: Replica, formats: str) -> float:
    """FLOP/s of large products. Published fp8 checkpoints of models with experts are scaled by block."""
    quantisation, common = QUANTISATIONS[formats], replica.curves.common
    units = quantisation.units(replica.on)
    rate = replica.on.achieved_flops(units) * common.products * replica.curves.engine.products
    if _young(replica.on):
        rate *= common.young
    if units == "fp4":
        return rate * common.narrow
    return rate * common.blocks if units == "fp8" and replica.model.experts is not None else rate


def _message(replica: Replica, one: Operation) -> float:
    joined = replica.domain if replica.on.scale_up_one_way else replica.server
    common, kind = replica.curves.common, KINDS[one.kind]
    return message_seconds(common, replica.on, kind, one.moved, one.ranks, joined, replica.network)
