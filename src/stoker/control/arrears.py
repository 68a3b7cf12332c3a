"""Arrears: what queues were short of lately, kept over restarts, so that a right does not end with the process."""

from __future__ import annotations

from collections.abc import Mapping

from stoker.schedule import Credit, Credits, Plan, Snapshot
from stoker.store.queues import QueueStore


class Arrears:
    """Written by one thread, after the passes in which an account took another course: while nothing changes,
    nothing is written. While no platform runs, accounts go on as the last pass left them."""

    def __init__(self, store: QueueStore) -> None:
        self._store = store
        self._credits = Credits()
        self._kept: Mapping[str, Credit] | None = None  # what the store holds; None: not read yet

    def at(self, now: float) -> Mapping[str, float]:
        """What queues are owed at `now`, in device-seconds; nothing where another process counts."""
        return self._credits.at(now)

    def recall(self) -> None:
        """Go on from what the store holds, unless this process has since it last forgot."""
        if self._kept is None:
            self._kept = self._store.credits()
            self._credits = Credits(self._kept)

    def note(self, snapshot: Snapshot, plan: Plan) -> None:
        """Go on from `snapshot`, for which `plan` was made and carried out."""
        self._credits.note(snapshot, plan)
        if self._credits.accounts != self._kept:
            self._store.note_credits(self._credits.accounts)
            self._kept = self._credits.accounts

    def forget(self) -> None:
        """Read the store again next time: another process may have gone on."""
        self._credits, self._kept = Credits(), None
