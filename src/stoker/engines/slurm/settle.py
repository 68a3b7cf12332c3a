"""What is to be believed of one order, when the queue, the books, the claim and the end say different things. Pure.

The queue is asked at one moment, the files are written at another, the books lag behind, and a job may have been
submitted twice. What is certain: who made the claim is the one job that has begun the attempt; an end that is
written is the end; and a job that the queue shows is there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stoker.engine import Observation
from stoker.engines.slurm.ledger import Entry
from stoker.engines.slurm.observe import End, Word, ended, live, lost
from stoker.job import JobState

LATE_FILE_S = 10.0  # how long a file that must be there may take to be seen: network file systems keep old listings
LATE_JOB_S = 30.0  # how long a job that had begun may be missing: the controller may just be starting


@dataclass(frozen=True)
class Evidence:
    """All that is known of one order now."""

    entry: Entry
    rows: Sequence[Word] = ()  # jobs in the queue that carry its mark
    claim: int | None = None  # id of the job that has begun it
    end: End | None = None
    books: Mapping[int, Word] | None = None  # id -> what the accounting says; None: not asked
    gone_for: float = 0.0  # seconds since it was first missed

    @property
    def cancelled(self) -> bool:
        return self.entry.cancel_at is not None

    def word(self, number: int | None) -> Word | None:
        """What Slurm says of one job, from the queue or else from the books."""
        shown = next((row for row in self.rows if row.id == number), None)
        if shown is None or shown.final:
            booked = (self.books or {}).get(number if number is not None else -1)
            if shown is None:
                return booked if booked and booked.final else None
            if booked and booked.final and booked.by:
                return booked
        return shown


@dataclass(frozen=True)
class Settled:
    """What to believe, and what to do about it."""

    seen: Observation | None = None  # None: nothing can be said; the order is absent
    slurm: int | None = None  # id of the job that stands for it
    surplus: tuple[int, ...] = ()  # jobs that are to be ended: another one has begun the attempt
    again: bool = False  # Slurm lost the job before it began: submit it once more
    missed: bool = False  # something that should be there is not


def needs_files(rows: Sequence[Word], *, unclaimed: bool) -> bool:
    """Whether claim and end have to be read: not for the many that plainly wait or run.

    `unclaimed`: it was seen before that nobody had begun it, and since then it has only waited. Otherwise one that
    waits may have been requeued.
    """
    open_rows = [row for row in rows if not row.final]
    if len(open_rows) != 1 or open_rows[0].state == "COMPLETING":
        return True
    return open_rows[0].waits and not unclaimed


def needs_books(evidence: Evidence) -> list[int]:
    """Ids of which the accounting is to be asked."""
    entry, number = evidence.entry, evidence.claim or evidence.entry.slurm
    if number is None or any(not row.final for row in evidence.rows):
        return []
    shown = next((row for row in evidence.rows if row.id == number), None)
    if shown is None:
        return [number] if evidence.end is None or evidence.end.why == "slurm" else []
    by_slurm = evidence.end is None or evidence.end.why == "slurm"
    unnamed = shown.state == "CANCELLED" and entry.cancel_at is None and by_slurm
    return [number] if unnamed else []


def settle(evidence: Evidence, now: float) -> Settled:
    if evidence.end is not None:
        return _ended(evidence, evidence.end)
    if evidence.claim is not None:
        return _begun(evidence, evidence.claim, now)
    return _not_begun(evidence, now)


def _ended(evidence: Evidence, end: End) -> Settled:
    """The end is written. Where Slurm's own word decides, it is waited for."""
    said = evidence.word(end.slurm)
    surplus = tuple(row.id for row in evidence.rows if not row.final and row.id != end.slurm)
    if said is not None and said.waits:
        back = (*surplus, end.slurm)
        return Settled(_requeued(end.ended_at) if end.why == "slurm" else _final(evidence, None), end.slurm, back)
    sure = end.why in ("cancel", "timeout") or (not end.why and end.code == 0)
    if not sure and said is not None and not said.final:
        return Settled(Observation(JobState.STOPPING, started_at=end.started_at), end.slurm, surplus)
    if end.why == "slurm" and said is None and evidence.gone_for < LATE_FILE_S:
        return Settled(Observation(JobState.STOPPING, started_at=end.started_at), end.slurm, surplus, missed=True)
    return Settled(_final(evidence, said if said and said.final else None), end.slurm, surplus)


def _begun(evidence: Evidence, claim: int, now: float) -> Settled:
    said = evidence.word(claim)
    surplus = tuple(row.id for row in evidence.rows if not row.final and row.id != claim)
    if said is not None and not said.final and not said.waits:
        return Settled(live(said, cancelled=evidence.cancelled), claim, surplus)
    if said is not None and said.waits and evidence.gone_for < LATE_FILE_S:
        # It may have begun just after the queue was asked; only one that goes on waiting was put back.
        return Settled(live(said, cancelled=evidence.cancelled), claim, surplus, missed=True)
    if said is not None and said.waits:  # Slurm has put it back: it would find its own claim and end
        return Settled(_requeued(now), claim, (*surplus, claim))
    if evidence.gone_for < (LATE_FILE_S if said else LATE_JOB_S):
        return Settled(Observation(JobState.STOPPING), claim, surplus, missed=True)
    if said is not None:
        return Settled(_final(evidence, said), claim, surplus)
    return Settled(lost("Slurm no longer knows it", None, now), claim, surplus)


def _not_begun(evidence: Evidence, now: float) -> Settled:
    entry = evidence.entry
    waiting = sorted((row for row in evidence.rows if not row.final), key=lambda row: row.id)
    if waiting:
        return Settled(live(waiting[0], cancelled=evidence.cancelled), waiting[0].id)
    said = evidence.word(max((row.id for row in evidence.rows), default=entry.slurm))
    cancelled = Observation(JobState.CANCELLED, ended_at=now, message="cancelled before it began")
    if said is not None:
        if said.state in ("COMPLETED", "FAILED") and evidence.gone_for < LATE_FILE_S:  # its claim is seen late
            return Settled(Observation(JobState.STOPPING), said.id, missed=True)
        return Settled(cancelled if evidence.cancelled else _final(evidence, said), said.id)
    if evidence.cancelled:
        return Settled(cancelled, entry.slurm)
    if entry.slurm is None:
        return Settled()
    if evidence.gone_for < LATE_FILE_S:
        return Settled(Observation(JobState.STARTING), entry.slurm, missed=True)
    return Settled(Observation(JobState.STARTING, reason="Resubmitted"), None, again=True)


def _requeued(at: float) -> Observation:
    message = "Slurm put it back into its own queue"
    return Observation(JobState.PREEMPTED, ended_at=at, reason="Requeued", message=message)


def _final(evidence: Evidence, said: Word | None) -> Observation:
    return ended(evidence.end, said, cancelled=evidence.cancelled, limit=evidence.entry.time_limit)
