"""This machine as a Node: CPUs and memory as the kernel lets this process use them."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from pathlib import Path

import psutil

from stoker.cluster import Device, Node

_CGROUP = Path("/sys/fs/cgroup")
_UNLIMITED = 1 << 60  # cgroup v1 writes "no limit" as a huge number


def local_node(engine: str, devices: Sequence[Device] = (), *, cpus: int = 0, cgroup: Path = _CGROUP) -> Node:
    """CPUs: the affinity mask, cut by a cgroup quota; memory: bytes, cut by a cgroup limit. At least one CPU.

    `cpus` offers another number of CPUs than were counted.
    """
    counted = len(os.sched_getaffinity(0))
    quota = _cpu_quota(cgroup)
    memory = psutil.virtual_memory().total
    limit = _memory_limit(cgroup)
    return Node(
        name=socket.gethostname(),
        engine=engine,
        cpus=cpus or max(1, min(counted, int(quota)) if quota else counted),
        memory=min(memory, limit) if limit else memory,
        devices=tuple(devices),
    )


def _cpu_quota(cgroup: Path) -> float | None:
    """CPUs this process may use by its cgroup (v2, then v1); None without a limit."""
    fields = _text(cgroup / "cpu.max").split()
    if not fields:
        fields = [_text(cgroup / "cpu" / "cpu.cfs_quota_us"), _text(cgroup / "cpu" / "cpu.cfs_period_us")]
    try:
        quota, period = float(fields[0]), float(fields[1])
    except (ValueError, IndexError):  # "max", or no such file
        return None
    return quota / period if quota > 0 and period > 0 else None


def _memory_limit(cgroup: Path) -> int | None:
    """Bytes this process may use by its cgroup (v2, then v1); None without a limit."""
    text = _text(cgroup / "memory.max") or _text(cgroup / "memory" / "memory.limit_in_bytes")
    return int(text) if text.isdigit() and int(text) < _UNLIMITED else None


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
