"""The fewest cards of each kind that hold a training: what to look for when no cluster is given."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from stoker.perf.accelerator import Accelerator
from stoker.perf.layout import Layout, Workload, impossible
from stoker.perf.layout_memory import DeviceMemory, device_memory, fits, lightest_recompute
from stoker.perf.precision import Precision
from stoker.perf.transformer import Transformer

MOST = 1024  # cards; what needs more is not answered by a table
_SERVER = 8


@dataclass(frozen=True)
class Fit:
    """The fewest cards of a kind that hold a training; `layout` None: not even `MOST` of them."""

    accelerator: Accelerator
    layout: Layout | None = None
    needed: DeviceMemory | None = None


def fewest(
    model: Transformer, sequence: int, precision: Precision, cards: Iterable[Accelerator]
) -> tuple[Fit, ...]:
    """For each card whose memory is known and that computes in `precision`: the fewest, doubling from one, that
    hold training on one sequence of `sequence` tokens at a time, however it is split; the simplest such split."""
    waiting = [card for card in cards if card.memory and card.supports(precision)]
    found: dict[str, Fit] = {card.name: Fit(card) for card in waiting}
    for layout in _layouts(model):
        workload = Workload(layout.dp, sequence, precision)
        if impossible(model, workload, layout):
            continue
        least = device_memory(model, workload, replace(layout, recompute="full"))
        for card in [card for card in waiting if fits(least, card)]:
            lightest = lightest_recompute(model, workload, layout, card)
            found[card.name] = Fit(card, lightest, device_memory(model, workload, lightest))
            waiting.remove(card)
    return tuple(found.values())


def _layouts(model: Transformer) -> Iterator[Layout]:
    """Fewest cards first, and the simplest first among as many."""
    experts = model.experts.count if model.experts else 1
    for count in _doubling(MOST):
        for pp in _doubling(min(count, model.layers)):
            for ep in _doubling(min(count // pp, experts)):
                for tp in _doubling(min(count // pp, _SERVER)):
                    yield Layout(gpus=count, tp=tp, pp=pp, ep=ep, sharding="optimiser" if pp > 1 else "full")


def _doubling(most: int) -> Iterator[int]:
    size = 1
    while size <= most:
        yield size
        size *= 2
