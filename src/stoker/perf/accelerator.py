"""Accelerator: what one card or module is by its data sheet, and what share of it has been measured.

Peaks are dense (without structured sparsity). Memory is what the card shows to programs, in GiB.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import get_args

from stoker.errors import BadInput
from stoker.perf.curves import CURVES, Curves, for_architecture
from stoker.perf.datasheet import Quantity, Sheet, find, sheets
from stoker.perf.precision import Precision

_PLAIN = {"vendor", "aliases", "architecture", "pcie_generation", "scale_up_link", "scale_up_domain", "kind"}
_QUANTITIES = {"memory", "memory_bandwidth", "scale_up", "tdp"}
_CALIBRATED = ("NVIDIA",)  # makers of whose cards measured speeds calibrated the curves
UNSEEN = 2.3  # times slower than expected: the most of 12 published rows of Ascend and Hygon (serving_published.py)


@dataclass(frozen=True, eq=False)  # compared and hashed by identity: the hot path caches by it
class Accelerator:
    """One kind of accelerator, or one CPU socket."""

    name: str
    vendor: str
    architecture: str  # sm90, DaVinci, gfx936, ...
    memory: Quantity | None  # None: main memory, which is the server's
    memory_bandwidth: Quantity | None  # None: nobody states it
    peak: Mapping[Precision, Quantity]
    achieved: Mapping[Precision, Quantity] = field(default_factory=dict)  # by large matrix products, measured
    achieved_memory_bandwidth: Quantity | None = None
    scale_up: Quantity | None = None  # both directions together, per accelerator, as data sheets say it
    scale_up_link: str = ""  # entry of links.toml
    scale_up_domain: int = 1  # accelerators that the scale-up link joins
    pcie_generation: int | None = None
    tdp: Quantity | None = None
    aliases: tuple[str, ...] = ()
    curves: Curves = CURVES  # how far from the peak real work stays; calibration bends it

    def peak_flops(self, precision: Precision) -> float:
        """FLOP/s, dense. Raises BadInput when the card has no such units, or nobody states the number."""
        return float(self._peak(precision))

    def achieved_flops(self, precision: Precision) -> float:
        """FLOP/s of large matrix products: measured where it was, else the peak times its architecture's share."""
        measured = self.achieved.get(precision)
        return float(measured) if measured else self.peak_flops(precision) * self.curves.share(precision)

    def kept_flops(self, precision: Precision) -> float:
        """FLOP/s that large products keep in training, where power and heat limit them, too."""
        return self.achieved_flops(precision) * self.curves.kept(precision) * self._power_share

    @cached_property
    def _power_share(self) -> float:
        """What the card's power limit does to clocks, against the card of its architecture that was calibrated."""
        curves, bf16 = self.curves, self.peak.get("bf16")
        if not (curves.power and curves.watts and self.tdp and bf16):
            return 1.0
        return float((float(self.tdp) / float(bf16) * 1e12 / curves.watts) ** curves.power)

    @property
    def achieved_bandwidth(self) -> float:
        """Bytes/s of memory that streaming kernels reach."""
        if self.memory_bandwidth is None:
            raise BadInput(
                f"nobody states the memory bandwidth of {self.name}; give memory_bandwidth in the cluster file"
            )
        return float(self.memory_bandwidth) * self.curves.memory_share

    @property
    def memory_bytes(self) -> float:
        if self.memory is None:
            raise BadInput(f"{self.name} has no memory of its own; give the server's memory in the cluster file")
        return float(self.memory)

    @property
    def scale_up_one_way(self) -> float:
        """Bytes/s in one direction over NVLink, HCCS or the like; 0 where cards meet over PCIe only."""
        return float(self.scale_up) / 2 if self.scale_up else 0.0

    @property
    def doubt(self) -> float:
        """How many times slower than the usual bounds work may be: 1 where the maker's cards were measured."""
        return 1.0 if self.vendor in _CALIBRATED else UNSEEN

    @property
    def caveat(self) -> str:
        """For the basis of what is expected of it; empty where the maker's cards were measured."""
        if self.vendor in _CALIBRATED:
            return ""
        return (
            f"; no measurement of this vendor ({self.vendor}) calibrated it: bounds reach {UNSEEN:g} times slower"
        )

    def supports(self, precision: Precision) -> bool:
        return precision in self.peak

    def _peak(self, precision: Precision) -> Quantity:
        found = self.peak.get(precision)
        if found is None:
            known = ", ".join(self.peak)
            raise BadInput(
                f"{self.name} has no {precision} peak in the catalogue; it has {known}", param="precision"
            )
        return found


@cache
def accelerator(name: str) -> Accelerator:
    """The accelerator called `name`, in any spelling of it. Raises NotFound with near names."""
    return _read(find("accelerators", name, "accelerator"))


def accelerators() -> tuple[Accelerator, ...]:
    """All of the catalogue, in its order."""
    return tuple(accelerator(name) for name in sheets("accelerators"))


@cache
def processor(name: str) -> Accelerator:
    """The CPU called `name`, one socket, as something to compute on. Raises NotFound with near names."""
    return _read(find("cpus", name, "CPU"))


def _read(sheet: Sheet) -> Accelerator:
    _check(sheet)
    numbers, plain = sheet.quantities, sheet.plain
    architecture = str(plain["architecture"])
    return Accelerator(
        name=sheet.name,
        vendor=str(plain["vendor"]),
        architecture=architecture,
        memory=numbers.get("memory"),
        memory_bandwidth=numbers.get("memory_bandwidth"),
        peak=_by_precision(sheet, "peak"),
        achieved=_by_precision(sheet, "achieved"),
        achieved_memory_bandwidth=numbers.get("achieved.memory_bandwidth"),
        scale_up=numbers.get("scale_up"),
        scale_up_link=str(plain.get("scale_up_link", "")),
        scale_up_domain=int(plain.get("scale_up_domain", 1)),
        pcie_generation=plain.get("pcie_generation"),
        tdp=numbers.get("tdp"),
        aliases=tuple(plain.get("aliases", ())),
        curves=for_architecture(architecture),
    )


def _check(sheet: Sheet) -> None:
    """Names nobody reads are errors, not decoration."""
    unknown = [name for name in sheet.plain if name not in _PLAIN]
    unknown += [name for name in sheet.quantities if name not in _QUANTITIES and not _is_rate(name)]
    if unknown:
        raise BadInput(f"catalogue: {sheet.name} has the unknown field {unknown[0]}")


def _is_rate(name: str) -> bool:
    group, _, precision = name.partition(".")
    return group in ("peak", "achieved") and (
        precision in get_args(Precision) or name == "achieved.memory_bandwidth"
    )


def _by_precision(sheet: Sheet, group: str) -> dict[Precision, Quantity]:
    known: Iterable[Precision] = get_args(Precision)
    given = sheet.group(group)
    return {precision: given[precision] for precision in known if precision in given}
