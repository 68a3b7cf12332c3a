"""Inquiry: what is known of every order, from the queue, the shared folder and the accounting."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from stoker.clock import Clock
from stoker.engine import Key
from stoker.engines.slurm import batch
from stoker.engines.slurm.cluster import SlurmCluster
from stoker.engines.slurm.commands import Commands, View
from stoker.engines.slurm.details import Detail
from stoker.engines.slurm.foreign import foreign_jobs, moved
from stoker.engines.slurm.ledger import Entry
from stoker.engines.slurm.machine import Machine, Part
from stoker.engines.slurm.observe import End, Word, claim_of, end_of
from stoker.engines.slurm.settle import Evidence, needs_books, needs_files
from stoker.engines.slurm.squeue import Row
from stoker.errors import Away
from stoker.foreign import ForeignJob

_log = logging.getLogger(__name__)
_SAME_JOB_S = 600.0  # a job in the books that was submitted this long before or after ours is another one of its id
SMALL = 1 << 16  # bytes of a claim or an end: what it says of a trouble names a path, and may be 4,096 characters


class Inquiry:
    """Used under the engine's lock; `others` may be read by any thread."""

    def __init__(
        self,
        engine: str,
        installation: str,
        gres: str,
        machine: Machine,
        commands: Commands,
        view: View,
        cluster: SlurmCluster,
        clock: Clock,
    ) -> None:
        """`gres`: what Slurm calls devices there."""
        self._name, self._installation, self._gres = engine, installation, gres
        self._machine, self._commands, self._view = machine, commands, view
        self._cluster = cluster
        self._clock = clock
        self._details: Mapping[int, Detail] = {}
        self._details_at: float | None = None
        self._unclaimed: set[Key] = set()  # that wait, and of which it was seen that nobody has begun them
        self.others: tuple[ForeignJob, ...] = ()

    def queue(self) -> tuple[dict[Key, list[Row]], list[Row]]:
        """Our jobs by key, lowest id first, and everybody else's. A mark counts only on jobs of our own user."""
        connected = self._cluster.connect()
        ours: dict[Key, list[Row]] = {}
        others = []
        for row in sorted(self._view.queue(), key=lambda row: row.id):
            key = batch.key_of(row.comment, self._installation) if row.uid == connected.uid else None
            if key is None:
                others.append(row)
            else:
                ours.setdefault(key, []).append(row)
        return ours, others

    def look_at_others(self, rows: Sequence[Row]) -> None:
        """Bring `others` up to date; asks what they hold only where that is not known, or not any more."""
        nothing = Detail()  # also what is told of one that was still waiting when it was asked for
        unknown = any(
            row.nodelist and row.state == "RUNNING" and not self._details.get(row.id, nothing).held for row in rows
        )
        if unknown or (any(row.nodelist for row in rows) and not self._cluster.recent(self._details_at)):
            self._details = self._view.details()
            self._details_at = self._clock.now()
        self.others = tuple(foreign_jobs(self._name, rows, self._details, self._gres, self._cluster.skew))

    def gather(
        self, entries: Sequence[Entry], ours: Mapping[Key, Sequence[Row]], missed: Mapping[Key, float]
    ) -> list[Evidence]:
        """Everything that is known of `entries`; files are read only where the queue leaves a question.

        `ours`: their jobs in the queue. `missed`: since when something of an order is not where it must be.
        """
        words = {
            key: [word_of(row, self._details, self._cluster.skew) for row in rows] for key, rows in ours.items()
        }
        asked = [
            entry.key
            for entry in entries
            if needs_files(words.get(entry.key, ()), unclaimed=entry.key in self._unclaimed)
        ]
        claims, ends = self.claims(asked), self._ends(asked)
        waiting = {key for key, said in words.items() if all(word.waits for word in said)}
        self._unclaimed = (self._unclaimed | {key for key, claim in claims.items() if claim is None}) & waiting
        found = []
        for entry in entries:
            key = entry.key
            gone = self._clock.now() - missed[key] if key in missed else 0.0
            found.append(Evidence(entry, words.get(key, ()), claims.get(key), ends.get(key), gone_for=gone))
        return self._with_books(found)

    def _with_books(self, found: Sequence[Evidence]) -> list[Evidence]:
        wanted = sorted({number for evidence in found for number in needs_books(evidence)})
        if not wanted or not self._cluster.connect().books:
            return list(found)
        try:
            entries = self._commands.books(wanted)
        except Away as error:  # without the books it is known late or less well, but the queue has answered
            _log.warning("engine %s: %s", self._name, error)
            return list(found)
        return [replace(evidence, books=self._books_of(evidence, entries)) for evidence in found]

    def _books_of(self, evidence: Evidence, entries: Sequence[tuple[Word, float]]) -> dict[int, Word]:
        """Ids are used again when a controller has lost its memory: only a job submitted when ours was is ours."""
        found = {}
        for word, submitted_at in entries:
            near = abs(submitted_at + self._cluster.skew - evidence.entry.entered_at) < _SAME_JOB_S
            if near and word.id in (evidence.claim, evidence.entry.slurm):
                found[word.id] = replace(word, by=self._commands.user(word.by)) if word.by else word
        return found

    def claims(self, keys: Sequence[Key]) -> dict[Key, int | None]:
        """Which Slurm job has begun each attempt; None: none has, as far as can be seen."""
        return {key: claim_of(text) for key, text in self._small(keys, "claim").items()}

    def _ends(self, keys: Sequence[Key]) -> dict[Key, End | None]:
        """By our clock."""
        found = {key: end_of(text) for key, text in self._small(keys, "end.json").items()}
        return {key: end and _moved_end(end, self._cluster.skew) for key, end in found.items()}

    def _small(self, keys: Sequence[Key], name: str) -> dict[Key, bytes]:
        if not keys:
            return {}
        folder = self._cluster.connect().folder
        parts = [Part(f"{folder}/{key.job}/{key.attempt}/{name}", 0, SMALL) for key in keys]
        return dict(zip(keys, self._machine.read(parts), strict=True))


def word_of(row: Row, details: Mapping[int, Detail], skew: float) -> Word:
    """By our clock: `skew` is added to the cluster's times."""
    detail = details.get(row.id)
    code = detail.exit_code if detail else None
    started, finished = (moved(moment, skew) for moment in (row.started_at, row.ended_at))
    return Word(row.id, row.state, row.reason, started, finished, code)


def _moved_end(end: End, skew: float) -> End:
    return replace(end, started_at=end.started_at + skew, ended_at=end.ended_at + skew)
