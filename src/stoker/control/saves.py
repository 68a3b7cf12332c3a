"""Saves: when the jobs that run last told that their work so far is safe, as their engines bring it back."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from stoker.clock import Clock
from stoker.control.fleet import key_of
from stoker.control.roster import Roster
from stoker.engine import CanTellSaves
from stoker.errors import Away
from stoker.job import Job, JobKind, JobState
from stoker.store.jobs import JobStore

EVERY_S = 5.0  # how old an answer may be
_log = logging.getLogger(__name__)


class Saves:
    """Each engine is asked once for all of its jobs, however many run there. Used by the dispatcher's thread."""

    def __init__(self, store: JobStore, roster: Roster, clock: Clock) -> None:
        self._store = store
        self._roster = roster
        self._clock = clock
        self._asked_at = float("-inf")

    def expected(self, active: Sequence[Job]) -> bool:
        """Whether there is anybody to ask about."""
        return any(_may_save(job) and self._teller(job.engine) for job in active)

    def news(self, active: Sequence[Job]) -> list[Job]:
        """Those of `active` that have saved themselves since it was last looked, as they are now in the store."""
        now = self._clock.now()
        if 0 <= now - self._asked_at < EVERY_S:
            return []
        self._asked_at = now
        running = [job for job in active if _may_save(job)]
        found = [job for name in sorted({job.engine for job in running}) for job in self._of(name, running, now)]
        self._store.note_saved(found)
        return found

    def _of(self, name: str, running: Sequence[Job], now: float) -> list[Job]:
        engine = self._teller(name)
        here = {key_of(job): job for job in running if job.engine == name}
        try:
            told = engine.saved(list(here)) if engine else {}
        except Away as error:
            _log.info("%s: %s", name, error)
            return []
        # Clocks differ a little, and anybody may touch a file into the future: nothing was saved later than now.
        fresh = {key: min(at, now) for key, at in told.items()}
        return [
            replace(here[key], checkpointed_at=at) for key, at in fresh.items() if at != here[key].checkpointed_at
        ]

    def _teller(self, engine: str) -> CanTellSaves | None:
        return self._roster.able(engine, CanTellSaves)


def _may_save(job: Job) -> bool:
    return job.state is JobState.RUNNING and job.spec.kind is not JobKind.SERVICE
