"""The quick benchmark before a training: what this device does at the sizes of the model, in some seconds.

A few layers are run as they are trained, for few and for many tokens, and the two ends of the model for few and for
many positions: what an operation costs beside its arithmetic (its start, casts, copies of weights, memory that the
system has to find) is in there. It is all made of constants, apart from the model that will be trained.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from math import ceil

import torch

from stoker.model import Architecture
from stoker.perf.training import Device, Line
from stoker.recipes.cpu_share import CpuShare
from stoker.recipes.one_layer import Ends, Layers, Tuning, attend_once
from stoker.recipes.packing import SHARED, Row

_CACHES = 64 << 20  # bytes
_TRIES, _FEWEST = 16, 5  # of each work: as many as fit into a moment, but no fewer than a median needs
_MOMENT = 0.3  # s
_FLOPS = 40e9  # in one run on a CPU, so that it takes a fraction of a second
_TOKENS = 2048  # more at once tell nothing new
_FEW_TOKENS, _FEW_POSITIONS = 16, 8
_HEAD_VALUES = 1 << 27  # of an output measured: half a gigabyte in float32
_MOVED = 1 << 23  # parameters the optimiser is measured with: with gradient and moments far larger than caches


def measure(
    model: Architecture, rows: Sequence[Row], on: torch.device, tuning: Tuning, moving: Sequence[int]
) -> Device:
    """Rates for training rows like `rows`; `moving` are the sizes of the tensors that move."""
    longest = max(rows, key=len)
    tokens = min(_TOKENS, _affordable(on, model.attention_parameters + model.ffn_parameters, Layers.COUNT))
    layer, pair = _layer(model, longest, tokens, on, tuning)
    return Device(
        matmul=product_rate(on, tuning.dtype, min(tokens, len(longest)), [(model.hidden, model.ffn)]),
        copy=_copy(on, tuning.dtype, min(tokens, len(longest)) * model.ffn),
        layer=layer,
        pair=pair,
        ends=_ends(model, max(len(row.targets) for row in rows), on, tuning),
        moved=_moved(moving, on),
    )


def layer_seconds(model: Architecture, on: torch.device, dtype: torch.dtype, tokens: int) -> float:
    """Of one layer whose weights are frozen, forward and backward: what choosing a type is decided by."""
    layers = Layers(model, Tuning(dtype)).to(on)
    most = _affordable(on, model.attention_parameters + model.ffn_parameters, Layers.COUNT)
    row = _row(0, 1, min(tokens, most))
    return _best([partial(layers.train_once, row, on)], on) / Layers.COUNT


def product_rate(on: torch.device, dtype: torch.dtype, rows: int, shapes: Sequence[tuple[int, int]]) -> float:
    """FLOP/s over the products of `rows` rows with weights of `shapes` (inputs, outputs), forward and backward."""
    seconds = 0.0
    for inputs, outputs in shapes:
        values = torch.ones(rows, inputs, device=on, dtype=dtype)
        gradient = torch.ones(rows, outputs, device=on, dtype=dtype)
        weights = [
            torch.ones(outputs, inputs, device=on, dtype=dtype) for _ in range(_unlike(inputs * outputs, dtype))
        ]
        seconds += _best([partial(_product, values, weight.t()) for weight in weights], on)
        seconds += _best([partial(_product, gradient, weight) for weight in weights], on)
    return sum(2 * 2.0 * rows * inputs * outputs for inputs, outputs in shapes) / seconds


def _product(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    return left @ right


def _affordable(on: torch.device, weights: int, times: int = 1) -> int:
    """Tokens whose way forward and backward through `weights` x `times` takes a fraction of a second."""
    return 1 << 30 if on.type == "cuda" else max(64, int(_FLOPS / (4.0 * weights * times)))


def _layer(model: Architecture, row: Row, tokens: int, on: torch.device, tuning: Tuning) -> tuple[Line, float]:
    """By tokens, and for each pair of attention's core."""
    few, many = _like(row, _FEW_TOKENS), _like(row, tokens)
    layers = Layers(model, tuning).to(on)
    whole = [_best([partial(layers.train_once, one, on)], on) / Layers.COUNT for one in (few, many)]
    core = [_best([partial(attend_once, model, one, tuning, on)], on) for one in (few, many)]
    pair = _line(few.pairs, core[0], many.pairs, core[1]).each
    return _line(len(few), whole[0], len(many), max(whole[1] - pair * (many.pairs - few.pairs), whole[0])), pair


def _ends(model: Architecture, predictions: int, on: torch.device, tuning: Tuning) -> Line:
    """By positions. A large vocabulary is measured by a part of it: all that is done to words grows with them."""
    words = min(model.vocabulary, _HEAD_VALUES // model.hidden)
    ends = Ends(model, words, tuning).to(on)
    many = max(2 * _FEW_POSITIONS, min(predictions, _affordable(on, words * model.hidden)))
    taken = [_best([partial(ends.train_once, count, on)], on) for count in (_FEW_POSITIONS, many)]
    found = _line(_FEW_POSITIONS, taken[0], many, taken[1])
    return Line(found.start * model.vocabulary / words, found.each * model.vocabulary / words)


def _moved(sizes: Sequence[int], on: torch.device) -> float:
    """Seconds a parameter of clipping and AdamW, over some of the tensors that move."""
    some = [min(size, _MOVED) for size in sizes[:: ceil(sum(sizes) / _MOVED)]]
    tensors = [torch.nn.Parameter(torch.ones(size, device=on)) for size in some]
    for tensor in tensors:
        tensor.grad = torch.ones_like(tensor)
    optimiser = torch.optim.AdamW(tensors, lr=0.0)

    def move() -> None:
        torch.nn.utils.clip_grad_norm_(tensors, 1.0)
        optimiser.step()

    return _best([move], on) / sum(some)


def _copy(on: torch.device, dtype: torch.dtype, count: int) -> float:
    """Bytes read and written per second by an elementwise product as large as an activation."""
    several = [torch.ones(count, device=on, dtype=dtype) for _ in range(_unlike(count, dtype))]
    moved = 3.0 * count * int(dtype.itemsize)
    return moved / _best([partial(torch.mul, values, values) for values in several], on)


def _unlike(count: int, dtype: torch.dtype) -> int:
    """How many tensors of `count` values are together larger than caches: a model's next layer is in none."""
    return max(1, min(16, _CACHES // (count * int(dtype.itemsize))))


def _like(row: Row, tokens: int) -> Row:
    """A row of at most `tokens` tokens with records like those of `row`."""
    shared = row.segments.count(SHARED)
    records = len(set(row.segments) - {SHARED})
    beginning = min(shared, tokens // 4)
    length = min((len(row) - shared) // records, (tokens - beginning) // min(records, 2))
    return _row(beginning, min(records, (tokens - beginning) // length), length)


def _row(shared: int, records: int, length: int) -> Row:
    segments = (*(SHARED for _ in range(shared)), *(number for number in range(records) for _ in range(length)))
    nothing = (0,) * len(segments)
    return Row(nothing, nothing, segments, (), ())


def _line(few: int, least: float, many: int, most: float) -> Line:
    """Through two measured points; through nought where the second is no later than the first, by chance."""
    if many <= few or most <= least:
        return Line(0.0, max(least, most) / max(few, many))
    each = (most - least) / (many - few)
    return Line(max(0.0, least - each * few), each)


def _best(works: Sequence[Callable[[], object]], on: torch.device) -> float:
    """Seconds that a run takes by itself, of `works` in turn, after one round that does not count.

    What a quarter of the runs stay below; the shortest of all may be a moment's luck. Where others use the CPUs all
    the while, the mean x the share of them that this process got is less: what it takes alone.
    """
    taken: list[float] = []
    cpus = CpuShare()
    for work in works:
        work()
    cpus.lap()
    while len(taken) < _FEWEST or (len(taken) < _TRIES and sum(taken) < _MOMENT):
        started = time.perf_counter()
        works[len(taken) % len(works)]()
        if on.type == "cuda":
            torch.cuda.synchronize(on)
        taken.append(time.perf_counter() - started)
    got = cpus.lap() if on.type == "cpu" else None
    return min(sorted(taken)[len(taken) // 4], sum(taken) / len(taken) * (got or 1.0))
