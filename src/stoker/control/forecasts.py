"""Forecasts: what was predicted of waiting jobs is kept and compared with what came."""

from __future__ import annotations

import threading

from stoker.clock import Clock
from stoker.control.loop import Dispatcher
from stoker.explanation import Accuracy, Explanation
from stoker.job import Job
from stoker.schedule import Lasting, explain
from stoker.store.predictions import Prediction, PredictionStore

_LEARN_EVERY_S = 30.0
_FIRST = 200  # ended jobs: below them each one counts, and reading them costs little
_FIRST_EVERY_S = 2.0
_FEW = 2  # jobs that are predicted in one step: it must not take the processor from what is asked
_LEAST_S = 1.0  # waiting below this is no forecast


class Forecasts:
    """What forecasts rest on is read again now and then; a job and attempt is predicted once."""

    def __init__(self, store: PredictionStore, dispatcher: Dispatcher, clock: Clock) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._clock = clock
        self._lock = threading.Lock()
        self._learnt_at: float | None = None
        self._lasting = Lasting()
        self._accuracy = Accuracy()
        self._swept_at: float | None = None
        self._noted: set[tuple[int, int]] = set()

    def lasting(self) -> Lasting:
        """How long jobs ran lately."""
        self._learn()
        return self._lasting

    def accuracy(self) -> Accuracy:
        """How good forecasts were lately."""
        self._learn()
        return self._accuracy

    def note(self, job: Job, found: Explanation) -> None:
        """Keep what was predicted, if it is the first of this job and attempt."""
        forecast = found.forecast
        key = (job.id, job.attempt)
        if forecast.at is None or forecast.at - found.at < _LEAST_S or key in self._noted:
            return
        self._noted.add(key)
        self._store.add(Prediction(job.id, job.attempt + 1, found.at, forecast.at))

    def sweep(self) -> float:
        """Predict a few of the jobs that wait and were not predicted; returns in how many seconds to come again."""
        now, before = self._clock.now(), self._swept_at
        if before is not None and now - before < _LEARN_EVERY_S:
            return _LEARN_EVERY_S - (now - before)
        self._swept_at = now
        decided = self._dispatcher.decided
        if decided is None:
            return _LEARN_EVERY_S
        snapshot, plan = decided
        waiting = {(job.id, job.attempt) for job in snapshot.pending}
        self._noted &= waiting
        fresh = [
            job for job in snapshot.pending if (job.id, job.attempt) not in self._noted and job.id in plan.waits
        ]
        for job in fresh[-_FEW:]:
            self.note(job, explain(snapshot, job, plan, lasting=self.lasting(), offer=False))
            self._noted.add((job.id, job.attempt))
        return _LEARN_EVERY_S

    def _learn(self) -> None:
        with self._lock:
            now = self._clock.now()
            every = _LEARN_EVERY_S if self._lasting.count >= _FIRST else _FIRST_EVERY_S
            if self._learnt_at is not None and now - self._learnt_at < every:
                return
            self._learnt_at = now
            self._lasting = Lasting(self._store.ran())
            self._accuracy = self._store.accuracy()
