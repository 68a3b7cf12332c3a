"""Trial: what would be free if some of the running jobs were gone. The field it began with never hears of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from stoker.cluster import Place
from stoker.job import Job, JobSpec, Placement
from stoker.schedule.field import Field
from stoker.schedule.layout import Layout


class Trial:
    """The free room now, or, behind a reservation, what is free both now and when that begins."""

    def __init__(
        self,
        pool: Field,
        left: Field | None = None,
        given: Collection[int] = (),
        refuses: Callable[[JobSpec, Collection[Job]], bool] = lambda _spec, _gone: False,
    ) -> None:
        """`left` is what the reservation leaves over; the jobs `given` have ended by then, and are free in it.
        `refuses` says whether a quota would keep the job out, with these gone."""
        self._pool = pool.copy()
        self._left = None if left is None else left.copy()
        self._given = given
        self._field = self._pool if self._left is None else self._pool.meet(self._left)
        self._refuses = refuses
        self._gone: dict[int, Job] = {}

    @property
    def layout(self) -> Layout:
        return self._field.layout

    @property
    def field(self) -> Field:
        return self._field

    def give(self, job: Job) -> None:
        """Let `job` be gone."""
        if job.id not in self._gone:
            self._gone[job.id] = job
            self._change(job, 1)

    def take(self, job: Job) -> None:
        """Let `job` be there again."""
        if job.id in self._gone:
            del self._gone[job.id]
            self._change(job, -1)

    def only(self, gone: Iterable[Job], of: Iterable[Job]) -> None:
        """Of the jobs `of` let just those `gone` be gone."""
        wanted = {job.id for job in gone}
        for job in of:
            (self.give if job.id in wanted else self.take)(job)

    def fit(self, spec: JobSpec) -> tuple[str, tuple[Placement, ...]]:
        """Nothing where a quota would refuse it."""
        return ("", ()) if self._refuses(spec, self._gone.values()) else self._field.fit(spec)

    def fits(self, spec: JobSpec) -> bool:
        """Whether `fit` finds a place."""
        return not self._refuses(spec, self._gone.values()) and self._field.fits(spec)

    def hopeless(self, spec: JobSpec) -> bool:
        """Whether it fits nowhere however others move: a quota refuses it, or too little is free."""
        return self._refuses(spec, self._gone.values()) or self._field.missing(spec) > 0

    def gone(self, job: Job) -> bool:
        return job.id in self._gone

    def fits_at(self, row: int, spec: JobSpec) -> bool:
        return self._field.fits_at(row, spec)

    def rows(self, job: Job) -> frozenset[int]:
        """Where `job` holds something; a machine of two engines has a row for each."""
        rows = (self.layout.row.get(Place(job.engine, placement.node)) for placement in job.placements)
        return frozenset(twin for row in rows if row is not None for twin in self.layout.twins[row])

    def _change(self, job: Job, sign: int) -> None:
        for field in (self._pool, None if job.id in self._given else self._left):
            if field is not None:
                (field.give if sign > 0 else field.take)(job.spec, job.engine, job.placements)
        self._meet(job.engine, job.placements)

    def _meet(self, engine: str, placements: tuple[Placement, ...]) -> None:
        if self._left is not None:
            self._field.least_of(self._pool, self._left, self._pool.rows(engine, placements))
