"""A site's own measurements bend the curves of its accelerators: acceptance results and past runs.

Knobs are few and physical, and held to the catalogue's values by what is believed of them: three measured products
do not rewrite what many published ones say, but a site whose cards run hot is seen in a handful.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

from stoker.errors import BadInput
from stoker.perf.accelerator import Accelerator
from stoker.perf.calibrate import Knob, fit
from stoker.perf.compute import gemm_seconds, hbm_seconds
from stoker.perf.curves import Curves
from stoker.perf.hardware import Hardware
from stoker.perf.layout import Layout, Workload
from stoker.perf.precision import Precision
from stoker.perf.stack import Stack
from stoker.perf.step import step_time
from stoker.perf.transformer import Transformer
from stoker.signal import Signal

# What may differ between a site and the catalogue, and by what factor (standard deviation of the logarithm).
_DOUBTS = {"sustained": 0.15, "memory_share": 0.10, "unhidden": 0.3, "attention_share": 0.2, "start": 0.5}
_BELOW_ONE = ("memory_share", "unhidden")


@dataclass(frozen=True)
class Product:
    """A measured matrix product, FLOP/s."""

    m: int
    n: int
    k: int
    precision: Precision
    signal: Signal

    def predicted(self, on: Hardware) -> float:
        return 2.0 * self.m * self.n * self.k / gemm_seconds(on.accelerator, self.m, self.n, self.k, self.precision)


@dataclass(frozen=True)
class Stream:
    """Measured memory bandwidth, bytes/s of `moved` bytes read and written."""

    moved: float
    signal: Signal

    def predicted(self, on: Hardware) -> float:
        return self.moved / hbm_seconds(on.accelerator, self.moved)


@dataclass(frozen=True)
class Run:
    """A past training, tokens/s of all devices together."""

    model: Transformer
    workload: Workload
    layout: Layout
    stack: Stack
    signal: Signal

    def predicted(self, on: Hardware) -> float:
        seconds = step_time(on, self.stack, self.model, self.workload, self.layout).total
        return self.workload.tokens / seconds


Measured = Product | Stream | Run


@dataclass(frozen=True)
class Site:
    """The hardware as calibrated, and how far predictions were off before and are now."""

    hardware: Hardware
    knobs: Mapping[str, float]
    before: tuple[float, ...]
    after: tuple[float, ...]

    def sentence(self) -> str:
        """``median error 12.1% before, 2.3% after 5 measurements; sustained 0.95 -> 0.84``"""
        kept = self.hardware.accelerator.name
        bent = ", ".join(f"{name} {value:.3g}" for name, value in self.knobs.items())
        return (
            f"{kept}: median error {median(self.before):.1%} before and {median(self.after):.1%} after calibration "
            f"on {len(self.before)} measurements; {bent}"
        )


def calibrate_site(hardware: Hardware, measured: Sequence[Measured]) -> Site:
    """`hardware` with curves bent by what was measured on it. Raises BadInput without a measurement above 0."""
    if not measured:
        raise BadInput("nothing was measured; calibration needs one value or more")
    values = [_value(one.signal) for one in measured]
    curves = hardware.accelerator.curves
    touched = _touching(measured)
    knobs = [
        Knob(name, getattr(curves, name), doubt, 1.0 if name in _BELOW_ONE else float("inf"))
        for name, doubt in _DOUBTS.items()
        if name in touched
    ]

    def predict(bent: Mapping[str, float], some: Sequence[int]) -> list[float]:
        site = replace(hardware, accelerator=_bent(hardware.accelerator, bent))
        return [measured[index].predicted(site) for index in some]

    found = fit(predict, values, knobs)
    best = replace(hardware, accelerator=_bent(hardware.accelerator, found.values))
    return Site(best, found.values, found.before, found.after)


def _bent(card: Accelerator, values: Mapping[str, float]) -> Accelerator:
    change: Callable[..., Curves] = replace
    return replace(card, curves=change(card.curves, **values))


def _touching(measured: Sequence[Measured]) -> frozenset[str]:
    """Knobs that the measurements tell anything of."""
    found = {"start"}
    for one in measured:
        if isinstance(one, Stream):
            found |= {"memory_share"}
        elif isinstance(one, Product):
            found |= {"sustained", "unhidden"}
        else:
            found |= {"sustained", "attention_share"}
    return frozenset(found)


def _value(signal: Signal) -> float:
    samples = [sample.value for sample in signal.samples]
    if not samples or min(samples) <= 0:
        raise BadInput(f"{signal.name} of {signal.subject} has no sample above 0; leave it out or measure again")
    return median(samples)
