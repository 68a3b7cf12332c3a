"""Limits: CPUs and memory of a job held by control groups, where this process may make them (v2 or v1)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stoker.job import Resources

_ROOT = Path("/sys/fs/cgroup")
_PERIOD = 100_000  # microseconds
_LEAST_MEMORY = 4 << 20  # below this not even the exec of a job succeeds


@dataclass(frozen=True)
class _Knob:
    """One controller's folder to make groups in, and the file that takes its limit."""

    parent: Path
    file: str
    version: int


@dataclass(frozen=True)
class Groups:
    """Folders of one job's control groups; empty where there is none. In v2 both may be the same."""

    cpu: str = ""
    memory: str = ""


class Limits:
    """Looks once, by trying, what the kernel lets this process do; `labels` tell it to people.

    Without control groups the supervisor watches memory itself, and CPUs are a promise of the scheduler alone.
    """

    def __init__(self, root: Path = _ROOT, own: Path = Path("/proc/self/cgroup")) -> None:
        parents = _parents(root, own)
        self._cpu = _first(parents, (("cpu", "cpu.cfs_quota_us", 1), ("", "cpu.max", 2)))
        self._memory = _first(parents, (("memory", "memory.limit_in_bytes", 1), ("", "memory.max", 2)))

    @property
    def labels(self) -> Mapping[str, str]:
        return {
            "cpu-limit": "cgroup" if self._cpu else "none",
            "memory-limit": "cgroup" if self._memory else "watched",
        }

    def make(self, name: str, need: Resources) -> Groups:
        """The groups that a job has to enter, made and set; the supervisor removes them. Safe to repeat."""
        cpu = memory = ""
        if self._cpu and need.cpus:
            quota = need.cpus * _PERIOD
            cpu = _make(self._cpu, name, f"{quota} {_PERIOD}" if self._cpu.version == 2 else str(quota))
        if self._memory and need.memory:
            memory = _make(self._memory, name, str(max(need.memory, _LEAST_MEMORY)))
        return Groups(cpu, memory)


def _make(knob: _Knob, name: str, limit: str) -> str:
    """The folder of the group; empty when it can no longer be made, the job then runs without this limit."""
    group = knob.parent / f"stoker-{name}"
    try:
        group.mkdir(exist_ok=True)
        (group / knob.file).write_text(limit)
    except OSError:
        return ""
    return str(group)


def _parents(root: Path, own: Path) -> dict[str, Path]:
    """This process's own group by controller; the unified one (v2) under the empty name."""
    parents: dict[str, Path] = {}
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return {}
    for line in lines:
        _number, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            base = root / controller if controller else root
            parents[controller] = base / path.lstrip("/")
    return parents


def _first(parents: Mapping[str, Path], kinds: tuple[tuple[str, str, int], ...]) -> _Knob | None:
    """The first of `kinds` (controller, file, version) that lets us make a group with that file."""
    for controller, file, version in kinds:
        parent = parents.get(controller)
        if parent is not None and _may_make(parent, file):
            return _Knob(parent, file, version)
    return None


def _may_make(parent: Path, file: str) -> bool:
    trial = parent / f"stoker-trial-{os.getpid()}"
    try:
        trial.mkdir()
    except OSError:
        return False
    try:
        return os.access(trial / file, os.W_OK) and (trial / "cgroup.procs").exists()
    finally:
        with contextlib.suppress(OSError):
            trial.rmdir()
