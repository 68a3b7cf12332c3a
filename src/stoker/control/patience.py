"""How long an engine may keep a job waiting for which there was room when it was placed.

People also use engines directly: between the decision and its arrival somebody else may have taken the place. The
job then waits in the engine's queue for this one place. After a while it is called back and placed anew.
"""

from __future__ import annotations

from collections.abc import Iterable

from stoker.engine import Key, Observation
from stoker.job import Job, JobState

PATIENCE_S = 120.0
CALLED_BACK = "CalledBack"  # reason of a job that is being taken out of its engine, to be placed anew


class Patience:
    """Since when each job waits at its engine, as far as this process has seen it. Used by one thread."""

    def __init__(self) -> None:
        self._since: dict[Key, float] = {}

    def worn(self, said: Iterable[tuple[Job, Observation]], now: float) -> list[tuple[Job, Observation]]:
        """Those jobs of `said` that their engine has kept waiting, with a reason, for too long."""
        waiting = {
            Key(job.id, job.attempt): (job, seen)
            for job, seen in said
            if job.state is JobState.STARTING and seen.state is JobState.STARTING and seen.reason
        }
        self._since = {key: self._since.get(key, now) for key in waiting}
        return [waiting[key] for key, since in self._since.items() if now - since >= PATIENCE_S]
