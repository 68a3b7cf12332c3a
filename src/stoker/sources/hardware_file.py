"""A cluster described in YAML: the short form of appliance vendors, or the whole of it.

name: pod-a                     # all but resources may be left out
servers: 16
resources:                      # of one server
  gpu: {type: H100, count: 8, nvlink_bandwidth: 900GB/s, memory: 80GB}
  cpu: {type: AMD EPYC 7763, cores: 64}
  memory: {size: 1TB, type: DDR5}
  nic: {type: ConnectX-7, count: 8, speed: 400Gb/s}
network: {oversubscription: 1, rails: true}
storage: {read: 10GB/s, write: 5GB/s, total_read: 200GB/s, total_write: 100GB/s, capacity: 2PB}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from stoker.errors import BadInput, NotFound
from stoker.perf.accelerator import Accelerator, accelerator, processor
from stoker.perf.datasheet import Quantity, Source
from stoker.perf.hardware import Hardware, Nics, Storage
from stoker.perf.rate import port_rate, rate
from stoker.typed import read, strict
from stoker.units import parse_bytes

_YOURS = Source("the cluster file", "as given")
_DDR4 = ("zen3", "icelake", "tsv110", "zen1")


@strict
@dataclass(frozen=True)
class _Gpu:
    type: str
    count: int
    nvlink_bandwidth: str | float | None = None
    memory: str | None = None
    memory_bandwidth: str | float | None = None
    domain: int | None = None  # accelerators that the scale-up link joins, where it is more than a server


@strict
@dataclass(frozen=True)
class _Cpu:
    type: str = ""
    cores: int = 0


@strict
@dataclass(frozen=True)
class _Memory:
    size: str
    type: str = ""


@strict
@dataclass(frozen=True)
class _Nic:
    type: str = ""
    count: int = 1
    speed: str | float = ""


@strict
@dataclass(frozen=True)
class _Resources:
    gpu: _Gpu
    cpu: _Cpu = _Cpu()
    memory: _Memory | None = None
    nic: _Nic | None = None


@strict
@dataclass(frozen=True)
class _Network:
    oversubscription: float = 1.0
    rails: bool = True


@strict
@dataclass(frozen=True)
class _Storage:
    read: str | float | None = None
    write: str | float | None = None
    total_read: str | float | None = None
    total_write: str | float | None = None
    capacity: str | None = None


@strict
@dataclass(frozen=True)
class _Description:
    resources: _Resources
    name: str = ""
    servers: int = 1
    network: _Network = field(default_factory=_Network)
    storage: _Storage = field(default_factory=_Storage)


def hardware_file(path: Path) -> Hardware:
    """The cluster described in `path`. Raises NotFound, or BadInput naming the first wrong field."""
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except FileNotFoundError:
        raise NotFound(f"no cluster file {path}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadInput(f"cannot read {path} as YAML: {str(error).splitlines()[0]}") from None
    return hardware(content, what=path.name, name=path.stem)


def hardware(content: Any, *, what: str = "cluster", name: str = "cluster") -> Hardware:
    """The cluster in `content`, as YAML or JSON gives it."""
    if not isinstance(content, Mapping):
        raise BadInput(f"{what}: a cluster is described as in: resources: {{gpu: {{type: H100, count: 8}}}}")
    given = read(_Description, dict(content), what=what)
    gpu = given.resources.gpu
    _positive(gpu.count, f"{what}: resources.gpu.count")
    _positive(given.servers, f"{what}: servers")
    if given.network.oversubscription < 1:
        raise BadInput(f"{what}: network.oversubscription {given.network.oversubscription:g} was given; 1 is none")
    card, notes = _card(gpu, what)
    return Hardware(
        name=given.name or name,
        accelerator=card,
        per_server=gpu.count,
        servers=given.servers,
        nics=_nics(given.resources.nic, what),
        oversubscription=given.network.oversubscription,
        rails=given.network.rails,
        cpu=given.resources.cpu.type,
        cores=given.resources.cpu.cores,
        main_memory=float(parse_bytes(given.resources.memory.size)) if given.resources.memory else 0.0,
        storage=_storage(given.storage, what),
        notes=(*notes, *_memory_notes(given.resources)),
    )


def _positive(count: int, where: str) -> None:
    if count < 1:
        raise BadInput(f"{where}: {count} was given; it must be 1 or more", param=where.partition(": ")[2])


def _card(gpu: _Gpu, what: str) -> tuple[Accelerator, list[str]]:
    """The catalogue's card with what the file says of it; a number that differs much is worth a note."""
    card, notes, where = accelerator(gpu.type), [], f"{what}: resources.gpu"
    if gpu.nvlink_bandwidth is not None:
        given = Quantity(rate(gpu.nvlink_bandwidth, f"{where}.nvlink_bandwidth") / 1e9, "GB/s", "datasheet", _YOURS)
        notes += _differs("nvlink_bandwidth", given, card.scale_up, card.name)
        card = replace(card, scale_up=given, scale_up_domain=max(card.scale_up_domain, gpu.count))
    if gpu.memory_bandwidth is not None:
        given = Quantity(rate(gpu.memory_bandwidth, f"{where}.memory_bandwidth") / 1e9, "GB/s", "datasheet", _YOURS)
        notes += _differs("memory_bandwidth", given, card.memory_bandwidth, card.name)
        card = replace(card, memory_bandwidth=given)
    if gpu.memory is not None:
        given = Quantity(parse_bytes(gpu.memory) / 2**30, "GiB", "datasheet", _YOURS)
        notes += _differs("memory", given, card.memory, card.name)
        card = replace(card, memory=given)
    if gpu.domain is not None:
        _positive(gpu.domain, f"{where}.domain")
        card = replace(card, scale_up_domain=gpu.domain)
    return card, notes


def _differs(field_name: str, given: Quantity, known: Quantity | None, name: str) -> list[str]:
    if known is None or abs(float(given) / float(known) - 1) < 0.1:
        return []
    return [
        f"{field_name}: {given.value:g} {given.unit} was given and is used; the catalogue has {known} for {name}"
    ]


def _nics(given: _Nic | None, what: str) -> Nics | None:
    if given is None:
        return None
    _positive(given.count, f"{what}: resources.nic.count")
    if given.speed == "":
        raise BadInput(f"{what}: resources.nic.speed is missing; write for example 400Gb/s")
    return Nics(given.type, given.count, port_rate(given.speed, f"{what}: resources.nic.speed"))


def _storage(given: _Storage, what: str) -> Storage:
    def speed(value: str | float | None, name: str) -> float:
        return 0.0 if value is None else rate(value, f"{what}: storage.{name}")

    return Storage(
        read=speed(given.read, "read"),
        write=speed(given.write, "write"),
        total_read=speed(given.total_read, "total_read"),
        total_write=speed(given.total_write, "total_write"),
        capacity=float(parse_bytes(given.capacity)) if given.capacity else 0.0,
    )


def _memory_notes(resources: _Resources) -> list[str]:
    """Memory that the CPU has no sockets for."""
    if not resources.cpu.type or resources.memory is None or "5" not in resources.memory.type:
        return []
    try:
        cpu = processor(resources.cpu.type)
    except NotFound:
        return []
    if cpu.architecture not in _DDR4:
        return []
    return [f"memory.type: {resources.memory.type} was given, but {resources.cpu.type} takes DDR4"]
