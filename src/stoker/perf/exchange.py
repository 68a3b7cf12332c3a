"""How long groups of devices exchange what a training step sends, over the links that join them.

Ranks follow Megatron's order: tensor-parallel ranks are neighbours, then context, then data, then pipeline;
experts are spread over neighbours. A group whose members are `stride` apart has as many of them in a scale-up
domain as fit.
"""

from __future__ import annotations

from functools import lru_cache

from stoker.errors import Unfit
from stoker.perf.collective import collective_seconds
from stoker.perf.fabric import Fabric
from stoker.perf.hardware import Hardware
from stoker.perf.network import fabric


@lru_cache(maxsize=256)
def joined(on: Hardware) -> Fabric:
    """What joins the devices of `on`, worked out once."""
    return fabric(on)


@lru_cache(maxsize=65536)
def gather_seconds(on: Hardware, received: float, ranks: int, stride: int, calls: float = 1.0) -> float:
    """All-gathers or reduce-scatters of `received` bytes for each device, in `calls` equal calls."""
    if ranks < 2 or received <= 0 or calls <= 0:
        return 0.0
    links = joined(on)
    local = max(1, min(ranks, links.domain // stride))
    _check(on, links, ranks > local)
    size = received / calls * ranks / (ranks - 1)
    return calls * collective_seconds("all_gather", size, ranks, links, local)


@lru_cache(maxsize=65536)
def all_to_all_seconds(on: Hardware, sent: float, ranks: int, calls: float = 1.0, copies: int = 1) -> float:
    """Every device sends `sent` bytes, evenly to all others of its group of neighbours, in `calls` equal calls.

    Of a token's `copies` for experts, those for one domain cross the network once and are spread within it.
    """
    if ranks < 2 or sent <= 0 or calls <= 0:
        return 0.0
    links = joined(on)
    local = min(ranks, links.domain)
    _check(on, links, ranks > local)
    size = sent / calls * ranks / (ranks - 1)
    inside = calls * collective_seconds("all_to_all", size, local, links, local) if local > 1 else 0.0
    if local == ranks:
        return inside
    domains = ranks / local
    distinct = domains * (1 - (1 - 1 / domains) ** copies) / copies if copies > 1 else 1.0
    return max(inside, calls * distinct * collective_seconds("all_to_all", size, ranks, links, local))


@lru_cache(maxsize=65536)
def neighbour_seconds(on: Hardware, sent: float, calls: float = 1.0) -> float:
    """Each stage of a pipeline sends `sent` bytes for each device to the next, in `calls` equal calls.

    Where there are several domains, some stage has its neighbour in another one, and all wait for it.
    """
    links = joined(on)
    local = on.count <= links.domain
    _check(on, links, not local)
    return calls * collective_seconds("send_recv", sent / calls, 2, links, 2 if local else 1)


def _check(on: Hardware, links: Fabric, outside: bool) -> None:
    if outside and not links.network:
        raise Unfit(
            f"{on.name}: devices of several servers need a network between them; give resources.nic",
            param="cluster",
        )
