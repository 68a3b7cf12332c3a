"""Links: how long a pass waits for messages between the devices of a replica.

    seconds = latency + bytes / (bandwidth x share)

The bandwidth is that of perf/collective.py, which training and acceptance use, too. Latencies are the engines' own:
their small all-reduces are kernels of a recorded graph, which start without NCCL's launch.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache

from stoker.perf.accelerator import Accelerator
from stoker.perf.collective import Kind, collective_seconds
from stoker.perf.network import card_fabric
from stoker.perf.serving.curves import Common

_LARGE = 256e6  # bytes, twice: what the second half takes tells the bandwidth without the start


def message_seconds(
    common: Common, on: Accelerator, kind: Kind, moved: float, ranks: int, joined: int, network: float
) -> float:
    """`moved` bytes of one device's buffer among `ranks` devices, of which `joined` share a domain or server."""
    inside = ranks <= joined and on.scale_up_one_way > 0
    latency, share = common.network, common.exchange if kind == "all_to_all" else common.links
    if inside:
        latency = common.collective * (0.5 + 0.5 * math.log2(max(2, ranks)) / 3.0)  # as told for eight devices
    return latency + moved / (bandwidth(on, kind, ranks, joined, network) * share)


@lru_cache(maxsize=1024)
def bandwidth(on: Accelerator, kind: Kind, ranks: int, joined: int, network: float) -> float:
    """Bytes/s of the buffer of large messages, which is counted as perf/collective.py counts it."""
    fabric = replace(card_fabric(on, joined), network=network * joined, network_share=1.0)
    inside = min(ranks, joined)
    while ranks % inside:
        inside -= 1
    once, twice = (collective_seconds(kind, size, ranks, fabric, inside) for size in (_LARGE, 2 * _LARGE))
    return _LARGE / (twice - once)
