"""Fleet: the replicas of a simulated service, started and ended as its load asks for."""

from __future__ import annotations

import math

from stoker.schedule import Policy
from stoker.schedule.lend import DAY
from stoker.simulate.inference import Inference, changes
from stoker.simulate.trace import Trace, TracedJob

SERVICE = "inference"  # tenant and owner of the replicas


class Fleet:
    """Mutable. Replicas have ids above those of the trace; who came last goes first."""

    def __init__(self, inference: Inference, trace: Trace, policy: Policy) -> None:
        self._inference = inference
        self._changes = changes(inference, policy)
        self._next_id = max((job.id for job in trace.jobs), default=0) + 1
        self._live: list[int] = []
        self._begun = False
        self.period = max(DAY, inference.demand.period)  # seconds after which all repeats itself
        self.next_at = min((job.submitted_at for job in trace.jobs), default=0.0)  # seconds since the trace began
        self._after = next(self._changes)
        self._count = 0
        self._advance()

    def step(self) -> tuple[list[TracedJob], list[int]]:
        """Replicas that come at `next_at`, and the ids of those that go; then `next_at` is the next change."""
        missing = self._count - len(self._live)
        come = [
            self._replica(number, at_once=not self._begun)
            for number in range(self._next_id, self._next_id + missing)
        ]
        gone = [self._live.pop() for _ in range(-missing)]
        self._next_id += len(come)
        self._live += [job.id for job in come]
        self._begun = True
        self.next_at = self._after[0]
        self._advance()
        return come, gone

    def _advance(self) -> None:
        while self._after[0] <= self.next_at:
            self._count = self._after[1]
            self._after = next(self._changes)

    def _replica(self, number: int, *, at_once: bool) -> TracedJob:
        """One that runs until it is told to end. `at_once`: the service was there before the trace began."""
        begins = 0.0 if at_once else self._inference.begins
        spec = self._inference.replica
        return TracedJob(number, self.next_at, math.inf, spec, SERVICE, SERVICE, begins, serving=True)
