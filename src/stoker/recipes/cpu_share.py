"""How much of the CPU that this process wanted it got: what others on the machine took, and nothing else.

The kernel counts for each thread how long it ran and how long it was ready and had to wait (schedstat). A thread
that sleeps wants nothing, so a training that cannot use its CPUs is told apart from one that is kept from them.
"""

from __future__ import annotations

from pathlib import Path

_TASKS = Path("/proc/self/task")


class CpuShare:
    """``lap()``: run / (run + waited) of all threads since the lap before; None where the kernel does not tell."""

    def __init__(self, tasks: Path = _TASKS) -> None:
        self._tasks = tasks
        self._before = self._read()

    def lap(self) -> float | None:
        now, before = self._read(), self._before
        self._before = now
        run = waited = 0
        for thread, (ran, stood) in now.items():
            earlier = before.get(thread, (0, 0))
            run += max(0, ran - earlier[0])
            waited += max(0, stood - earlier[1])
        return run / (run + waited) if run else None

    def _read(self) -> dict[str, tuple[int, int]]:
        """Nanoseconds by thread; threads that end meanwhile are left out."""
        found = {}
        try:
            threads = list(self._tasks.iterdir())
        except OSError:
            return {}
        for thread in threads:
            try:
                ran, stood, _ = (thread / "schedstat").read_text().split()
            except (OSError, ValueError):
                continue
            found[thread.name] = int(ran), int(stood)
        return found
