"""The device a recipe computes on: which, in what precision, and how much memory."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Literal

import psutil
import torch

from stoker.model import Architecture
from stoker.recipes import calibration
from stoker.recipes.cpus import usable_cpus

Precision = Literal["auto", "bf16", "fp32"]
_FASTER = 1.1  # bf16 is chosen where a layer is trained at least this much faster than in float32
_TOKENS = 256  # of the row that is tried


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


def precision(asked: Precision, on: torch.device, model: Architecture) -> torch.dtype:
    """The type to compute in: bf16 where the hardware trains a layer of `model` faster in it, else float32."""
    if asked != "auto":
        return {"bf16": torch.bfloat16, "fp32": torch.float32}[asked]
    if on.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    narrow, wide = (
        calibration.layer_seconds(model, on, dtype, _TOKENS) for dtype in (torch.bfloat16, torch.float32)
    )
    return torch.bfloat16 if narrow * _FASTER < wide else torch.float32


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
