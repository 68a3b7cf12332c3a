"""How many CPUs this process may use: more threads than that make inference slower, not faster."""

from __future__ import annotations

import math
import os
from pathlib import Path


def usable_cpus(root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> int:
    """CPUs of the affinity mask, or fewer where a cgroup (v2) of this process has a quota."""
    return max(1, min(len(os.sched_getaffinity(0)), *_quotas(root, membership)))


def _quotas(root: Path, membership: Path) -> list[int]:
    """The quota of every cgroup from our own up to the root, in whole CPUs."""
    try:
        own = next(line for line in membership.read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        own = "0::/"
    folder = root / own.removeprefix("0::").lstrip("/")
    unlimited = os.cpu_count() or 1
    found = [unlimited]
    for group in (folder, *folder.parents):
        limit = group / "cpu.max"
        if limit.is_file():
            quota, period = limit.read_text().split()
            found.append(unlimited if quota == "max" else math.ceil(int(quota) / int(period)))
        if group == root:
            break
    return found
