"""Jobs in the database. Every move of state is lawful, compared with what it was decided on, and logged."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Update, bindparam, func, select

from stoker.errors import Conflict, NotFound
from stoker.job import FINAL, Job, JobEvent, JobKind, JobSpec, JobState, Placement, check_move
from stoker.store.database import Database
from stoker.store.tables import events, jobs, submissions
from stoker.typed import dump, read

_FINAL = [state.value for state in FINAL]
_LARGEST = 2**63 - 1  # what a database can be asked for
_FEW = 500  # ids in one IN (...): SQLite's oldest limit is 999


@dataclass(frozen=True)
class Draft:
    """A job about to be stored. Ids are not known yet, so siblings are named by position."""

    spec: JobSpec  # a dependency on -n means the n-th draft (from 1) of the same submission
    array_head: int | None = None  # position (from 0) of the array's first job
    array_index: int | None = None


@dataclass(frozen=True)
class Move:
    """One step of one job: happens only if the job still is as `job` says."""

    job: Job
    state: JobState
    reason: str = ""
    message: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)  # further attributes of Job that change


@dataclass(frozen=True)
class Filter:
    """Which jobs to list. Empty means any."""

    tenant: str = ""
    owner: str = ""
    name: str = ""
    ship: str = ""
    kind: JobKind | None = None
    states: tuple[JobState, ...] = ()
    before: int | None = None  # ids below this one: the next page


class JobStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self,
        drafts: Sequence[Draft],
        *,
        tenant: str,
        owner: str,
        ship: str,
        at: float,
        key: str = "",
        digest: str = "",
    ) -> list[Job]:
        """Store all of `drafts` or none. With a `key` that was used before, the jobs of that time.

        Raises Conflict when the key was used for something else (another `digest`; an empty one is not compared).
        """
        with self._database.write() as connection:
            earlier = _earlier(connection, tenant, key, digest) if key else None
            if earlier is not None:
                return _by_ids(connection, earlier)
            first = self._database.take_ids(connection, "jobs", len(drafts))
            added = [_fresh(draft, first, place, tenant, owner, ship, at) for place, draft in enumerate(drafts)]
            texts = _spec_texts(job.spec for job in added)
            connection.execute(jobs.insert(), [_row(job, texts[id(job.spec)]) for job in added])
            self._database.take_turns(connection)
            connection.execute(events.insert(), [_event(job, at) for job in added])
            if key:
                ids = json.dumps([job.id for job in added])
                connection.execute(
                    submissions.insert().values(tenant=tenant, key=key, digest=digest, jobs=ids, at=at)
                )
            return added

    def move(self, moves: Sequence[Move], *, at: float, durable: bool = False) -> list[Job]:
        """Do those moves whose job is still as it was read; returns these jobs as they are now.

        Each job once: of several moves of one only the first can be as it was read. `durable` where the move is
        acknowledged to somebody; what an engine told can be asked again.
        Raises Conflict for a move that `job.MOVES` does not know.
        """
        for step in moves:
            check_move(step.job.state, step.state)
        if not moves:
            return []
        with self._database.write(durable=durable) as connection:
            moved = _moved(connection, moves)
            if moved:
                self._database.take_turns(connection)
                connection.execute(events.insert(), [_event(job, at) for job in moved])
            return moved

    def note_saved(self, saved: Sequence[Job]) -> None:
        """Write down when these last saved themselves; not of one that is in another attempt. No event."""
        rows = [{"of": job.id, "in_attempt": job.attempt, "at": job.checkpointed_at} for job in saved]
        if rows:
            with self._database.write(durable=False) as connection:
                connection.execute(_NOTE_SAVED, rows)

    def get(self, job_id: int) -> Job:
        with self._database.read() as connection:
            found = _by_ids(connection, [job_id])
        if not found:
            raise NotFound.named("job", str(job_id))
        return found[0]

    def by_ids(self, ids: Sequence[int]) -> list[Job]:
        with self._database.read() as connection:
            return _by_ids(connection, ids)

    def of_array(self, array_id: int) -> list[Job]:
        if array_id > _LARGEST:
            return []
        with self._database.read() as connection:
            rows = connection.execute(select(jobs).where(jobs.c.array_id == array_id).order_by(jobs.c.id))
            return [_job(row) for row in rows]

    def find(self, wanted: Filter, *, limit: int) -> list[Job]:
        """Newest first."""
        statement = select(jobs).where(*_conditions(wanted)).order_by(jobs.c.id.desc()).limit(limit)
        with self._database.read() as connection:
            return [_job(row) for row in connection.execute(statement)]

    def displaced_for(self, job_id: int) -> int:
        """Jobs that were ended so that this one gets in, and have not started again."""
        statement = select(func.count()).where(jobs.c.gives_way_to == job_id)
        with self._database.read() as connection:
            return int(connection.execute(statement).scalar_one())

    def counts(self, wanted: Filter) -> dict[JobState, int]:
        statement = select(jobs.c.state, func.count()).where(*_conditions(wanted)).group_by(jobs.c.state)
        with self._database.read() as connection:
            return {JobState(state): count for state, count in connection.execute(statement)}

    def live(self) -> tuple[list[Job], int]:
        """All jobs that have not ended, and the number of the last event they reflect."""
        with self._database.read() as connection:
            rows = connection.execute(select(jobs).where(jobs.c.state.not_in(_FINAL)).order_by(jobs.c.id))
            return [_job(row) for row in rows], _last_event(connection)

    def changed(self, since: int, known: Mapping[int, int] | None = None) -> tuple[list[Job], int]:
        """The jobs that moved after event `since`, and the number of the last event now.

        `known`: by job how many of its moves since then the caller has made and knows; who moved no more often is
        left out.
        """
        with self._database.read() as connection:
            last = _last_event(connection)
            if last == since:
                return [], last
            counted = select(events.c.job, func.count()).where(events.c.id > since).group_by(events.c.job)
            often = {int(job): int(count) for job, count in connection.execute(counted)}
            unknown = sorted(job for job, count in often.items() if count > (known or {}).get(job, 0))
            return _by_ids(connection, unknown), last

    def ended_since(self, at: float) -> list[Job]:
        """The jobs that have ended after `at`."""
        with self._database.read() as connection:
            rows = connection.execute(select(jobs).where(jobs.c.ended_at > at).order_by(jobs.c.id))
            return [_job(row) for row in rows]

    def served(self, ids: Sequence[int]) -> dict[int, float]:
        """Seconds that the attempts of each of these ran which have ended: from running to waiting again."""
        found: dict[int, float] = {}
        with self._database.read() as connection:
            for few in _split(ids):
                rows = connection.execute(
                    select(events.c.job, events.c.at, events.c.state)
                    .where(events.c.job.in_(few))
                    .order_by(events.c.job, events.c.id)
                )
                began: dict[int, float] = {}
                for job, at, state in rows:
                    if state == JobState.RUNNING.value:
                        began.setdefault(job, at)
                    elif state == JobState.PENDING.value and job in began:
                        found[job] = found.get(job, 0.0) + max(0.0, at - began.pop(job))
        return found

    def since(self, jobs: Sequence[tuple[int, JobState]]) -> dict[tuple[int, JobState], float]:
        """When each of these jobs last came into the state beside it."""
        found: dict[tuple[int, JobState], float] = {}
        with self._database.read() as connection:
            for state in sorted({state for _, state in jobs}):
                for few in _split([job_id for job_id, one in jobs if one is state]):
                    in_state = (events.c.job.in_(few), events.c.state == state.value)
                    statement = select(events.c.job, func.max(events.c.at)).where(*in_state).group_by(events.c.job)
                    found.update(((row[0], state), row[1]) for row in connection.execute(statement))
        return found

    def states(self, ids: Sequence[int]) -> dict[int, tuple[JobState, ...]]:
        """The state of each id, and for the id of an array those of all its jobs; unknown ids are absent."""
        found: dict[int, list[JobState]] = {}
        with self._database.read() as connection:
            for few in _split(ids):
                of_jobs = select(jobs.c.id, jobs.c.array_id, jobs.c.state).where(
                    jobs.c.id.in_(few) | jobs.c.array_id.in_(few)
                )
                for job_id, array_id, state in connection.execute(of_jobs):
                    for target in {job_id, array_id} & set(few):
                        found.setdefault(target, []).append(JobState(state))
        return {target: tuple(states) for target, states in found.items()}

    def events(self, job_id: int) -> list[JobEvent]:
        """The job's history, oldest first."""
        with self._database.read() as connection:
            rows = connection.execute(select(events).where(events.c.job == job_id).order_by(events.c.id))
            return [
                JobEvent(row.job, row.at, JobState(row.state), row.reason, row.message, row.attempt) for row in rows
            ]


def _fresh(draft: Draft, first: int, place: int, tenant: str, owner: str, ship: str, at: float) -> Job:
    depends = tuple(
        dataclasses.replace(dependency, job=first - dependency.job - 1) if dependency.job < 0 else dependency
        for dependency in draft.spec.depends
    )
    spec = dataclasses.replace(draft.spec, depends=depends) if depends else draft.spec
    array_id = None if draft.array_head is None else first + draft.array_head
    return Job(
        id=first + place,
        spec=spec,
        tenant=tenant,
        owner=owner,
        state=JobState.PENDING,
        submitted_at=at,
        array_id=array_id,
        array_index=draft.array_index,
        ship=ship,
    )


def _earlier(connection: Connection, tenant: str, key: str, digest: str) -> list[int] | None:
    statement = select(submissions).where(submissions.c.tenant == tenant, submissions.c.key == key)
    row = connection.execute(statement).first()
    if row is None:
        return None
    if digest and row.digest != digest:
        raise Conflict(f'the idempotency key "{key}" was used for another submission; give a fresh one')
    return [int(job_id) for job_id in json.loads(row.jobs)]


_Standing = tuple[str, int, bool]  # state, attempt, whether its end was asked for


def _moved(connection: Connection, moves: Sequence[Move]) -> list[Job]:
    """Looked at together, then written together: one statement for each job would take ten times as long."""
    standing = _standing(connection, [step.job.id for step in moves])
    moved: list[Job] = []
    changes: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for step in moves:
        old = step.job
        if standing.pop(old.id, None) != (old.state.value, old.attempt, old.cancel_requested):
            continue
        new = dataclasses.replace(
            old, **{"reason": step.reason, "message": step.message, **step.fields, "state": step.state}
        )
        names = tuple(sorted({"state", "reason", "message", *step.fields}))
        columns = {f"new_{name}": _column(new, name) for name in names}
        changes.setdefault(names, []).append({"of": old.id, **columns})
        moved.append(new)
    for names, rows in changes.items():
        connection.execute(_update(names), rows)
    return moved


def _standing(connection: Connection, ids: Sequence[int]) -> dict[int, _Standing]:
    """How these jobs are; nobody changes them before the transaction ends."""
    found: dict[int, _Standing] = {}
    for few in _split(sorted(ids)):  # in order, so that two processes never wait for each other
        rows = connection.execute(_LOCKED, {"ids": few})
        found.update((row.id, (row.state, row.attempt, row.cancel_requested)) for row in rows)
    return found


_LOCKED = (
    select(jobs.c.id, jobs.c.state, jobs.c.attempt, jobs.c.cancel_requested)
    .where(jobs.c.id.in_(bindparam("ids", expanding=True)))
    .order_by(jobs.c.id)
    .with_for_update()
)


_NOTE_SAVED = (
    jobs.update()
    .where(jobs.c.id == bindparam("of"), jobs.c.attempt == bindparam("in_attempt"))
    .values(checkpointed_at=bindparam("at"))
)


@lru_cache(maxsize=256)
def _update(names: tuple[str, ...]) -> Update:
    """Built once for each set of columns: that costs more than to run it."""
    return jobs.update().where(jobs.c.id == bindparam("of")).values({n: bindparam(f"new_{n}") for n in names})


def _conditions(wanted: Filter) -> list[ColumnElement[bool]]:
    equal = {
        jobs.c.tenant: wanted.tenant,
        jobs.c.owner: wanted.owner,
        jobs.c.name: wanted.name,
        jobs.c.ship: wanted.ship,
        jobs.c.kind: wanted.kind.value if wanted.kind else "",
    }
    conditions: list[ColumnElement[bool]] = [column == value for column, value in equal.items() if value]
    if wanted.states:
        conditions.append(jobs.c.state.in_([state.value for state in wanted.states]))
    if wanted.before is not None:
        conditions.append(jobs.c.id < wanted.before)
    return conditions


def _by_ids(connection: Connection, ids: Sequence[int]) -> list[Job]:
    """In the order of `ids`; unknown ones are left out."""
    found: dict[int, Job] = {}
    for few in _split([job_id for job_id in ids if 0 < job_id <= _LARGEST]):
        for row in connection.execute(select(jobs).where(jobs.c.id.in_(few))):
            found[row.id] = _job(row)
    return [found[job_id] for job_id in ids if job_id in found]


def _split(ids: Sequence[int]) -> Iterable[Sequence[int]]:
    return (ids[start : start + _FEW] for start in range(0, len(ids), _FEW))


def _last_event(connection: Connection) -> int:
    return int(connection.execute(select(func.max(events.c.id))).scalar() or 0)


def _event(job: Job, at: float) -> dict[str, Any]:
    return {
        "job": job.id,
        "at": at,
        "state": job.state.value,
        "reason": job.reason,
        "message": job.message,
        "attempt": job.attempt,
    }


# Attributes kept as they are in the column of the same name.
_PLAIN = [field.name for field in dataclasses.fields(Job) if field.name not in ("spec", "state", "placements")]


def _row(job: Job, spec: str) -> dict[str, Any]:
    """All columns; `spec` is the spec's JSON."""
    return {
        **{name: getattr(job, name) for name in _PLAIN},
        "name": job.spec.name,
        "kind": job.spec.kind.value,
        "priority": job.spec.priority,
        "state": job.state.value,
        "spec": spec,
        "placements": _column(job, "placements"),
    }


def _column(job: Job, name: str) -> Any:
    """An attribute that moves may change, as its column takes it."""
    if name == "placements":
        return json.dumps([[place.node, list(place.devices)] for place in job.placements])
    value = getattr(job, name)
    return value.value if isinstance(value, JobState) else value


def _spec_texts(specs: Iterable[JobSpec]) -> dict[int, str]:
    """The JSON of each spec by its id(); the elements of an array share one spec."""
    different = {id(spec): spec for spec in specs}
    return {key: json.dumps(dump(spec), ensure_ascii=False) for key, spec in different.items()}


@lru_cache(maxsize=4096)
def _spec(text: str) -> JobSpec:
    """Arrays and retries show the same text again and again."""
    return read(JobSpec, json.loads(text), what="stored job")


def _job(row: Row[Any]) -> Job:
    return Job(
        spec=_spec(row.spec),
        state=JobState(row.state),
        placements=tuple(Placement(node, tuple(devices)) for node, devices in json.loads(row.placements)),
        **{name: getattr(row, name) for name in _PLAIN},
    )
