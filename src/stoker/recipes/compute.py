"""The device a recipe computes on: which, in what precision, how much memory, and what it was measured to do."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import psutil
import torch

from stoker.model import Architecture
from stoker.perf.training import Device
from stoker.recipes.cpu_share import CpuShare
from stoker.recipes.cpus import usable_cpus
from stoker.recipes.little_layer import LittleLayer, one_pass

Precision = Literal["auto", "bf16", "fp32"]
_MATRICES = 7  # of a layer: Q, K, V, attention's output, gate, up, down
_CACHES = 64 << 20  # bytes
_TRIES = 16
_FASTER = 1.5  # bf16 is chosen where its matrix products are at least this much faster than float32


def device() -> torch.device:
    """The accelerator of this rank, or the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


def use_threads(asked: int) -> int:
    """Compute with `asked` threads; 0 takes every CPU given to this job, shared among the ranks here."""
    ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    given = int(os.environ.get("OMP_NUM_THREADS", "0")) or usable_cpus() // ranks
    count = asked or max(1, min(given, usable_cpus()))
    torch.set_num_threads(count)
    return count


def precision(asked: Precision, on: torch.device) -> torch.dtype:
    """The type to compute in: bf16 where the hardware multiplies it fast, else float32."""
    if asked != "auto":
        return {"bf16": torch.bfloat16, "fp32": torch.float32}[asked]
    if on.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    shape = [(512, 512)]
    fast = _matmul(on, torch.bfloat16, 256, shape) > _FASTER * _matmul(on, torch.float32, 256, shape)
    return torch.bfloat16 if fast else torch.float32


def free_memory(on: torch.device) -> int:
    """Bytes that a new computation may take, under the cgroup's limit where there is one."""
    if on.type == "cuda":
        return int(torch.cuda.mem_get_info(on)[0])
    return min(psutil.virtual_memory().available, _cgroup_headroom())


def peak_memory(on: torch.device) -> int:
    """The most bytes this process ever held, on the device or in main memory."""
    if on.type == "cuda":
        return int(torch.cuda.max_memory_allocated(on))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _cgroup_headroom(root: Path = Path("/sys/fs/cgroup")) -> int:
    """memory.max less memory.current of our own cgroup; huge without a limit."""
    unlimited = 1 << 62
    try:
        own = next(line for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
        group = root / own.removeprefix("0::").lstrip("/")
        limit, used = (group / "memory.max").read_text().strip(), (group / "memory.current").read_text()
    except (OSError, StopIteration):
        return unlimited
    return unlimited if limit == "max" else max(0, int(limit) - int(used))


def calibrate(
    model: Architecture, tokens: int, on: torch.device, dtype: torch.dtype, *, adapter_width: int = 0
) -> Device:
    """Measure matrix products, copies and the start of a layer's operations at the sizes of `model`: about 0.3 s.

    `adapter_width`: the rank of the adapter, 0 when there is none.
    """
    rows = max(16, min(tokens, 2048))

    def rate(*shapes: tuple[int, int]) -> float:
        return _matmul(on, dtype, rows, shapes)

    query, keys = model.heads * model.head_dim, model.kv_heads * model.head_dim
    attention = ((model.hidden, query), (model.hidden, keys), (model.hidden, keys), (query, model.hidden))
    layer = rate(*attention, (model.hidden, model.ffn), (model.hidden, model.ffn), (model.ffn, model.hidden))
    narrow = rate((model.hidden, adapter_width), (adapter_width, model.hidden)) if adapter_width else layer
    return Device(
        matmul=rate((model.hidden, model.ffn)),
        layer=layer,
        narrow=narrow,
        copy=_copy(on, dtype, rows * model.ffn),
        layer_start=_start(on, dtype, adapted=False),
        adapter_start=max(0.0, _start(on, dtype, adapted=True) - _start(on, dtype, adapted=False)) / _MATRICES,
        bytes_per_value=dtype.itemsize,
    )


def _matmul(on: torch.device, dtype: torch.dtype, rows: int, shapes: Sequence[tuple[int, int]]) -> float:
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


def _unlike(count: int, dtype: torch.dtype) -> int:
    """How many tensors of `count` values are together larger than caches: a model's next layer is in none."""
    return max(1, min(16, _CACHES // (count * int(dtype.itemsize))))


def _copy(on: torch.device, dtype: torch.dtype, count: int) -> float:
    """Bytes read and written per second by an elementwise product as large as an activation."""
    several = [torch.ones(count, device=on, dtype=dtype) for _ in range(_unlike(count, dtype))]
    moved = 3.0 * count * int(dtype.itemsize)
    return moved / _best([partial(torch.mul, values, values) for values in several], on)


def _start(on: torch.device, dtype: torch.dtype, *, adapted: bool) -> float:
    """Seconds that starting the operations of a layer takes, forward and backward, with or without adapters."""
    layer = LittleLayer(adapted=adapted).to(on)
    return _best([partial(one_pass, layer, on, dtype)], on)


def _best(works: Sequence[Callable[[], object]], on: torch.device) -> float:
    """Seconds that a run takes by itself, of `works` in turn, after one round that does not count.

    What a quarter of the runs stay below; the shortest of all may be a moment's luck. Where others use the CPUs all
    the while, the mean x the share of them that this process got is less: what it takes alone.
    """
    taken, cpus = [], CpuShare()
    for work in works:
        work()
    cpus.lap()
    for attempt in range(_TRIES):
        started = time.perf_counter()
        works[attempt % len(works)]()
        if on.type == "cuda":
            torch.cuda.synchronize(on)
        taken.append(time.perf_counter() - started)
    got = cpus.lap() if on.type == "cpu" else None
    return min(sorted(taken)[_TRIES // 4], sum(taken) / _TRIES * (got or 1.0))
