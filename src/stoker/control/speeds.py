"""How fast jobs are expected to be on the models of the pool, by the data sheets of the performance model."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from stoker.cluster import Node, profile_of
from stoker.errors import StokerError
from stoker.perf.accelerator import accelerator
from stoker.schedule.speed import Speed, Speeds


def speeds_of(nodes: Iterable[Node]) -> Speeds:
    """By model in small letters; models that the catalogue does not know are absent."""
    models = {device.model for node in nodes for device in node.devices}
    found = {_whole(model): _speed(_whole(model)) for model in sorted(models)}
    return {model: speed for model, speed in found.items() if speed is not None}


def _whole(model: str) -> str:
    profile = profile_of(model)
    return (model.removesuffix(f"-{profile}") if profile else model).lower()


@lru_cache(maxsize=256)
def _speed(model: str) -> Speed | None:
    try:
        sheet = accelerator(model)
        compute = sheet.peak.get("bf16") or sheet.peak.get("fp16")
        return Speed(float(compute), sheet.achieved_bandwidth) if compute else None
    except StokerError:
        return None
