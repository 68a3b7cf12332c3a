"""How long an engine may keep a job waiting for which there was room when it was placed.

People also use engines directly: between the decision and its arrival somebody else may have taken the place. The
job then waits in the engine's queue for this one place. After a while it is called back and placed anew.
"""

from __future__ import annotations

from collections.abc import Iterable

from stoker.engine import Key, Observation
from stoker.job import Job, JobState

PATIENCE_S = 120.0
# Parts of the reasons, of Slurm and Kubernetes, that say the place is not there any more. What is wrong with the
# job itself, such as its image or a limit of its account, would be as wrong elsewhere.
_PLACE_GONE = ("Resources", "Priority", "ReqNodeNotAvail", "Unschedulable", "Insufficient")
CALLED_BACK = "CalledBack"  # reason of a job that is being taken out of its engine, to be placed anew


class Patience:
    """Since when each job waits at its engine, as far as this process has seen it. Used by one thread."""

    def __init__(self) -> None:
        self._since: dict[Key, float] = {}

    def worn(self, said: Iterable[tuple[Job, Observation]], now: float) -> list[tuple[Job, Observation]]:
        """Those jobs of `said` that their engine has kept waiting for a place for too long."""
        waiting = {
            Key(job.id, job.attempt): (job, seen)
            for job, seen in said
            if job.state is JobState.STARTING and seen.state is JobState.STARTING and _place_gone(seen)
        }
        self._since = {key: self._since.get(key, now) for key in waiting}
        return [waiting[key] for key, since in self._since.items() if now - since >= PATIENCE_S]


def _place_gone(seen: Observation) -> bool:
    return any(part in seen.reason for part in _PLACE_GONE)
