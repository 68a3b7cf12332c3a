"""Network: adapters, switches, optics and copper of the catalogue, and the fabric that a described cluster has."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

from stoker.errors import BadInput, NotFound
from stoker.perf.accelerator import Accelerator
from stoker.perf.datasheet import Quantity, Sheet, find, sheets
from stoker.perf.fabric import Fabric
from stoker.perf.hardware import Hardware
from stoker.perf.nccl import constants
from stoker.perf.rate import port_rate

Kind = Literal["infiniband", "roce", "efa"]
End = Literal["server", "switch"]
_SPELLED = re.compile(r"^(\d{1,5})x(\d{1,6}(?:\.\d+)?[A-Za-z/]*)$")
_USUAL_NIC = "ConnectX-7"


@dataclass(frozen=True)
class Nic:
    """A network adapter with one port."""

    name: str
    network: Kind
    speed: Quantity
    share: Quantity  # of the line rate that collectives reach
    latency: float = 0.0  # s for each message, beyond InfiniBand's
    whole_lines: bool = True


@dataclass(frozen=True)
class Switch:
    """`ports` ports of `speed` bytes/s, each of which can be split into the numbers in `split`."""

    name: str
    ports: int
    speed: float
    split: tuple[int, ...] = (1,)
    per_cage: int = 1
    network: str = ""
    basis: str = ""

    def radix(self, speed: float) -> int:
        """Ports at `speed` bytes/s, splitting where that is needed; 0 when it cannot run at that speed."""
        ways = [split for split in self.split if abs(self.speed / split - speed) < 1e-6 * speed]
        return self.ports * ways[0] if ways else 0

    def per_module(self, speed: float) -> int:
        """Links at `speed` that come out of one cage."""
        return self.per_cage * round(self.speed / speed)

    @property
    def speeds(self) -> str:
        """``800, 400 or 200 Gb/s``"""
        rates = [f"{self.speed / split * 8 / 1e9:g}" for split in self.split]
        return f"{', '.join(rates[:-1])} or {rates[-1]} Gb/s" if len(rates) > 1 else f"{rates[0]} Gb/s"


@dataclass(frozen=True)
class Optic:
    """A transceiver, or a copper cable with both its ends."""

    name: str
    copper: bool
    end: End
    links: int
    speed: float  # bytes/s of one link
    reach: float  # m
    power: float  # W; 0: nobody states it, or copper


@cache
def nic(name: str) -> Nic:
    """The adapter called `name`. Raises NotFound with near names."""
    sheet = find("nics", name, "network adapter")
    _check(sheet, {"vendor", "aliases", "network", "whole_lines"}, {"speed", "share", "latency"})
    return Nic(
        sheet.name,
        sheet.plain["network"],
        sheet.quantities["speed"],
        sheet.quantities["share"],
        float(sheet.quantities["latency"]) if "latency" in sheet.quantities else 0.0,
        bool(sheet.plain.get("whole_lines", True)),
    )


@cache
def switch(name: str) -> Switch:
    """The switch called `name`, or one spelled as ``64x400Gb/s``. Raises NotFound with near names, or BadInput."""
    try:
        sheet = find("switches", name, "switch")
    except NotFound:
        spelled = _SPELLED.match(name)
        if spelled is None:
            raise
        ports = int(spelled[1])
        if ports < 2:
            raise BadInput(f"switch {name}: a switch of {ports} ports was given; 2 or more are allowed") from None
        return Switch(name, ports, port_rate(spelled[2], f"switch {name}"), (1, 2, 4), basis="as given")
    _check(sheet, {"vendor", "aliases", "network", "split", "per_cage"}, {"ports", "speed"})
    return Switch(
        sheet.name,
        round(float(sheet.quantities["ports"])),
        float(sheet.quantities["speed"]),
        tuple(sheet.plain["split"]),
        int(sheet.plain["per_cage"]),
        str(sheet.plain["network"]),
        f"{sheet.quantities['ports']} ports; {sheet.quantities['speed']}",
    )


@cache
def optics() -> tuple[Optic, ...]:
    """All transceivers and copper of the catalogue, shortest reach first."""
    found = []
    for sheet in sheets("optics").values():
        _check(sheet, {"kind", "end", "links"}, {"speed", "reach", "power"})
        numbers = sheet.quantities
        found.append(
            Optic(
                sheet.name,
                sheet.plain["kind"] == "copper",
                sheet.plain["end"],
                int(sheet.plain["links"]),
                float(numbers["speed"]),
                float(numbers["reach"]),
                float(numbers["power"]) if "power" in numbers else 0.0,
            )
        )
    return tuple(sorted(found, key=lambda optic: optic.reach))


def optic_for(end: End, speed: float, length: float, *, copper: bool) -> Optic | None:
    """The one of the least reach that suffices; None when the catalogue has none."""
    return next(
        (
            optic
            for optic in optics()
            if optic.end == end and optic.copper is copper and optic.reach >= length
            and abs(optic.speed - speed) < 1e-6 * speed
        ),
        None,
    )  # fmt: skip


def fabric(hardware: Hardware, *, leaf_servers: int = 0) -> Fabric:
    """The fabric of a described cluster. `leaf_servers`: how many servers share their leaf switches.

    Cards that a bridge joins in pairs meet the others of their server over PCIe, and so do cards without a link.
    """
    card, domain = hardware.accelerator, hardware.scale_up_domain
    if domain < min(hardware.per_server, hardware.count):
        domain = hardware.per_server
    ports, adapter = hardware.nics, _adapter(hardware)
    servers = max(1, domain // hardware.per_server)  # of a domain
    return replace(
        card_fabric(card, domain),
        network=ports.bandwidth * ports.count * servers if ports else 0.0,
        network_share=float(adapter.share),
        network_latency=adapter.latency,
        whole_lines=adapter.whole_lines,
        oversubscription=hardware.oversubscription,
        leaf_domains=leaf_servers // servers,
    )


def card_fabric(card: Accelerator, domain: int) -> Fabric:
    """`domain` accelerators and what joins them: their scale-up link, or PCIe where it does not reach that far."""
    if card.scale_up_one_way and domain <= card.scale_up_domain:
        switched = card.scale_up_domain >= 8 and card.vendor == "NVIDIA"
        multicast = switched and constants().of(card.architecture).nvls_share > 0
        return Fabric(domain, card.scale_up_one_way, architecture=card.architecture, multicast=multicast)
    return Fabric(domain, float(_pcie(card)) / 2, architecture=card.architecture, link="pcie")


def _pcie(card: Accelerator) -> Quantity:
    """Both directions together."""
    generation = card.pcie_generation or 4
    return find("links", f"PCIe {generation}", "link").quantities["bandwidth"]


def _adapter(hardware: Hardware) -> Nic:
    if hardware.nics is None:
        return nic(_USUAL_NIC)
    try:
        return nic(hardware.nics.type or _USUAL_NIC)
    except NotFound:
        return nic(_USUAL_NIC)  # a user's own name, with a speed that the file gives


def _check(sheet: Sheet, plain: Collection[str], quantities: Collection[str]) -> None:
    """Names nobody reads are errors, not decoration."""
    unknown = [name for name in sheet.plain if name not in plain]
    unknown += [name for name in sheet.quantities if name not in quantities]
    if unknown:
        raise BadInput(f"catalogue: {sheet.name} has the unknown field {unknown[0]}")
