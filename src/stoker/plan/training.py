"""Which layouts of a training are best on a cluster, and why the others are not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from stoker.errors import BadInput, StokerError, Unfit
from stoker.expectation import Expectation
from stoker.perf.goodput import Goodput, goodput
from stoker.perf.hardware import Hardware
from stoker.perf.layout import Layout, Workload, impossible
from stoker.perf.layout_memory import DeviceMemory, degrees, device_memory, fits
from stoker.perf.stack import Stack
from stoker.perf.step import StepTime, step_time
from stoker.perf.transformer import Transformer

SPREAD = 0.10  # of step times: see benchmarks/perf_training.py for models that calibration did not see
# Times slower than expected that work may be where a stack was never measured on an architecture in this format:
# of each such group, predicted without it, nine of ten rows are within (benchmarks/perf_training.py --groups).
EXTRAPOLATED = 1.4
_QUARTERS = 4  # of the layers, in which more of them are recomputed


@dataclass(frozen=True)
class Plan:
    """One layout with what it needs and delivers."""

    layout: Layout
    memory: DeviceMemory
    time: StepTime


@dataclass(frozen=True)
class Rejected:
    """Why layouts were not taken: one of them, and how many share the reason."""

    reason: str
    count: int
    example: str


@dataclass(frozen=True)
class Search:
    """The best layouts, ranked, and what was looked at."""

    model: Transformer
    hardware: Hardware
    workload: Workload
    stack: Stack
    best: tuple[Plan, ...]
    rejected: tuple[Rejected, ...]
    looked_at: int

    def speed(self, plan: Plan) -> Expectation:
        """Tokens/s of the whole cluster."""
        value = self.workload.tokens / plan.time.total
        parts = " + ".join(f"{name} {seconds:.3g}" for name, seconds in plan.time.parts().items() if seconds)
        basis = (
            f"{self.workload.global_batch:,} sequences x {self.workload.sequence:,} tokens / "
            f"{plan.time.total:.4g} s; "
            f"s: {parts}; bounds: most published rows of models not seen in calibration lie within"
        )
        return self._bounded("tokens_per_s", value, "tokens/s", basis)

    def model_flops_share(self, plan: Plan, *, causal: bool = True) -> Expectation:
        """MFU: 6 x active parameters + 3 x attention's forward FLOP a token, over the peak of its precision."""
        per_token = self.model.flops_per_token(self.workload.sequence, causal=causal)
        return self._share("mfu", per_token, plan, "half" if causal else "full")

    def hardware_flops_share(self, plan: Plan) -> Expectation:
        """HFU: model FLOP and those of the forward pass that is done again."""
        per_token = self.model.flops_per_token(self.workload.sequence)
        again = plan.layout.recompute_share if plan.layout.recompute == "full" else 0.0
        head = 6.0 * self.model.embedding_parameters
        return self._share("hfu", per_token + (per_token - head) / 3 * again, plan, "half")

    def _share(self, name: str, per_token: float, plan: Plan, attention: str) -> Expectation:
        rate = per_token * self.workload.tokens / plan.time.total / self.hardware.count
        peak = self.hardware.accelerator.peak_flops(self.workload.precision)
        basis = (
            f"{per_token:.4g} FLOP a token (6 x {self.model.active_parameters:.4g} active parameters, "
            f"attention counted {attention}) x {self.workload.tokens:,} / {plan.time.total:.4g} s / "
            f"{self.hardware.count} devices = {rate / 1e12:.0f} TFLOP/s of {peak / 1e12:.0f} "
            f"({self.workload.precision})"
        )
        return self._bounded(name, rate / peak, "", basis)

    def _bounded(self, name: str, value: float, unit: str, basis: str) -> Expectation:
        doubt, caveat = self._doubt()
        return Expectation(name, value, value * (1 - SPREAD) / doubt, value * (1 + SPREAD), unit, basis + caveat)

    def _doubt(self) -> tuple[float, str]:
        """How many times slower than the usual bounds it may be, and why."""
        card = self.hardware.accelerator
        measured = f"{card.architecture} {self.workload.precision}"
        if card.caveat or measured in self.stack.measured:
            return card.doubt, card.caveat
        return EXTRAPOLATED, (
            f"; no published training with {self.stack.name} on {card.architecture} in {self.workload.precision} "
            f"calibrated it: bounds reach {EXTRAPOLATED:g} times slower"
        )

    def reliability(self) -> Goodput:
        return goodput(self.model, self.hardware)

    def seconds(self, tokens: float, plan: Plan) -> float:
        """To train on `tokens` tokens, failures and checkpoints included."""
        return tokens / self.speed(plan).value / max(self.reliability().share, 1e-9)


def search(model: Transformer, hardware: Hardware, workload: Workload, stack: Stack, *, keep: int = 5) -> Search:
    """All layouts that may be worth it, the fastest first. Raises Unfit when none fits, with the nearest."""
    hardware.accelerator.peak_flops(workload.precision)
    if hardware.count > max(hardware.per_server, hardware.scale_up_domain) and hardware.nics is None:
        raise BadInput(
            f"{hardware.count} devices in {hardware.servers} servers need a network between them; "
            "give resources.nic in the cluster file, or --nic 400Gb/s",
            param="cluster",
        )
    reasons: Counter[str] = Counter()
    examples: dict[str, str] = {}
    plans: list[Plan] = []
    nearest: tuple[float, str] = (float("inf"), "")
    looked_at = 0
    for layout in layouts(model, hardware):
        reason = impossible(model, workload, layout)
        if reason:
            looked_at += 1
        else:
            found, reason, need, tried = _lightest(model, hardware, workload, stack, layout)
            looked_at += tried
            if found:
                plans.append(found)
                continue
            if need and need < nearest[0]:
                nearest = (need, str(layout))
        kind = _kind(reason)
        reasons[kind] += 1
        examples.setdefault(kind, reason if kind == reason else f"{layout}: {reason}")
    if not plans:
        raise Unfit(_nothing(model, hardware, workload, nearest, reasons, examples), param="model")
    plans.sort(key=lambda plan: plan.time.total)
    best = _unlike(plans, keep)
    slower = _slower(plans, best)
    rejected = [Rejected(kind, count, examples[kind]) for kind, count in reasons.most_common()]
    return Search(model, hardware, workload, stack, tuple(best), (*slower, *rejected), looked_at)


def layouts(model: Transformer, hardware: Hardware) -> Iterator[Layout]:
    """Every combination of powers of two (and divisors of the layers for pipelines) that could make sense."""
    count = hardware.count
    for tp in _powers(min(count, hardware.scale_up_domain, 16)):
        for pp in _pipelines(model, count // tp):
            for cp in _powers(min(16, count // (tp * pp))):
                for ep in _expert_ways(model, count // pp):
                    yield from _variants(model, count, tp, pp, cp, ep)


def _variants(model: Transformer, count: int, tp: int, pp: int, cp: int, ep: int) -> Iterator[Layout]:
    stages = [1] if pp == 1 else [v for v in range(1, 9) if model.layers % (pp * v) == 0] or [1]
    for virtual in stages:
        for micro_batch in (1, 2, 4, 8):
            for sharding in ("optimiser", "full") if pp == 1 else ("optimiser",):
                yield Layout(
                    count, tp, pp, cp, ep, virtual, micro_batch,
                    "full" if sharding == "full" else "optimiser",
                )  # fmt: skip


def _powers(most: int) -> list[int]:
    return [1 << i for i in range(most.bit_length()) if 1 << i <= most]


def _pipelines(model: Transformer, most: int) -> list[int]:
    return [pp for pp in _powers(min(most, 64)) if pp <= model.layers]


def _expert_ways(model: Transformer, most: int) -> list[int]:
    if model.experts is None:
        return [1]
    return [ep for ep in _powers(min(most, model.experts.count, 64)) if model.experts.count % ep == 0]


def _lightest(
    model: Transformer, hardware: Hardware, workload: Workload, stack: Stack, layout: Layout
) -> tuple[Plan | None, str, float, int]:
    """The layout with the least recomputation that fits; else the reason, and bytes that the lightest needs.

    Last comes how many degrees of recomputation were tried.
    """
    need = 0.0
    tries = degrees(model, _QUARTERS)
    for tried, (recompute, share) in enumerate(tries, 1):
        lighter = replace(layout, recompute=recompute, recompute_share=share)
        memory = device_memory(model, workload, lighter)
        if fits(memory, hardware.accelerator):
            try:
                return Plan(lighter, memory, step_time(hardware, stack, model, workload, lighter)), "", 0.0, tried
            except StokerError as error:
                return None, str(error), 0.0, tried
        need = memory.total
    there = hardware.accelerator.memory_bytes
    return (
        None,
        f"needs {need / 2**30:.0f} GiB of {there / 2**30:.0f} GiB even when all is recomputed",
        need,
        len(tries),
    )


_KINDS = (
    ("needs ", "does not fit, even when all is recomputed"),
    ("attention heads", "tp does not divide the attention heads"),
    ("feed-forward width", "tp does not divide the feed-forward width"),
    ("does not divide into", "the global batch does not divide"),
    ("interleaved", "the interleaved schedule needs micro-batches that pp divides"),
    ("experts", "ep does not divide the experts"),
    ("devices", "does not divide the devices"),
    ("stages", "more stages than layers"),
)


def _kind(reason: str) -> str:
    return next((kind for word, kind in _KINDS if word in reason), reason)


def _unlike(plans: Sequence[Plan], keep: int) -> list[Plan]:
    """The fastest, of each way to spread only the best: a list of near twins helps nobody to choose."""
    best: dict[tuple[int, int, int, str], Plan] = {}
    for plan in plans:
        layout = plan.layout
        best.setdefault((layout.tp, layout.pp, layout.ep, layout.sharding), plan)
    return list(best.values())[:keep]


def _slower(plans: Sequence[Plan], best: Sequence[Plan]) -> list[Rejected]:
    others = [plan for plan in plans if plan not in best]
    if not others:
        return []
    first, next_one, worst = best[0].time.total, others[0], others[-1]
    example = f"{next_one.layout}: {next_one.time.total / first - 1:.1%} slower than the best"
    much = f"fits, but is slower (up to {worst.time.total / first:.1f} times)"
    return [Rejected(much, len(others), example)]


def _nothing(
    model: Transformer,
    hardware: Hardware,
    workload: Workload,
    nearest: tuple[float, str],
    reasons: Counter[str],
    examples: dict[str, str],
) -> str:
    card = hardware.accelerator
    if nearest[1]:
        return (
            f"{model.name} with sequences of {workload.sequence:,} tokens fits on {hardware.count} x {card.name} "
            f"in no layout; the nearest ({nearest[1]}) needs {nearest[0] / 2**30:.0f} GiB of "
            f"{card.memory_bytes / 2**30:.0f} GiB a device: more devices or shorter sequences are needed"
        )
    most = reasons.most_common(1)[0][0]
    return f"{model.name} has no layout on {hardware.count} x {card.name}: {examples[most]}"
