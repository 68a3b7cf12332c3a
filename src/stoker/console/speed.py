"""How well a job uses what it holds: measured over expected, from what it told through the probe."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Mapping

from stoker.clock import Clock
from stoker.errors import StokerError
from stoker.job import Job, JobState
from stoker.signal import Signal
from stoker.telemetry import Telemetry

RATES = ("mfu", "tokens_per_s", "samples_per_s", "requests_per_s")  # the first that has both sides counts
RECENT = 10  # samples that speed is judged by
KEEP_S = 5.0  # a telemetry file is read at most so often for the overview
MOST_JOBS = 100  # running jobs looked at; beyond, cells show use without speed


def delivered(telemetry: Telemetry) -> float | None:
    """Measured over expected, 1.0 is as expected; None when either side is unknown."""
    for name in RATES:
        expectation, signal = telemetry.expectations.get(name), telemetry.signals.get(name)
        measured = recent(signal) if signal else None
        if expectation and expectation.value and measured is not None:
            return measured / expectation.value
    return None


def recent(signal: Signal) -> float | None:
    """Mean of the last few samples, as one step says little about speed; None when none of them is a number."""
    last = [sample.value for sample in signal.samples[-RECENT:] if math.isfinite(sample.value)]
    return sum(last) / len(last) if last else None


class Speeds:
    """`delivered` of running jobs, remembered for a few seconds: many open pages read each file once."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[tuple[int, int], tuple[float, float | None]] = {}

    def of(self, jobs: Iterable[Job], read: Callable[[int], Telemetry]) -> Mapping[int, float]:
        """Job id -> share, for the running ones that say."""
        running = [job for job in jobs if job.state is JobState.RUNNING][:MOST_JOBS]
        shares = {job.id: self._share(job, read) for job in running}
        self._forget({(job.id, job.attempt) for job in running})
        return {job: share for job, share in shares.items() if share is not None}

    def _share(self, job: Job, read: Callable[[int], Telemetry]) -> float | None:
        key, now = (job.id, job.attempt), self._clock.now()
        known = self._known.get(key)
        if known and now - known[0] < KEEP_S:
            return known[1]
        try:
            share = delivered(read(job.id))
        except StokerError:  # it ended meanwhile, or its engine is away: not measured
            share = None
        with self._lock:
            self._known[key] = (now, share)
        return share

    def _forget(self, running: set[tuple[int, int]]) -> None:
        """Drop what is old and no longer running; other tenants' pages may still want theirs."""
        now = self._clock.now()
        with self._lock:
            for key in [key for key, (at, _) in self._known.items() if key not in running and now - at > KEEP_S]:
                del self._known[key]
