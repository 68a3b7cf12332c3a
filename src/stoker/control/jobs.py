"""JobDesk: what people and programs can do with jobs."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlsplit

from stoker.account import Account, Role
from stoker.clock import Clock
from stoker.control.changes import Changes
from stoker.control.loop import Dispatcher
from stoker.control.preemption import preempt
from stoker.control.rights import require, require_sight, sees
from stoker.control.roster import Roster, able
from stoker.control.submission import drafts_of
from stoker.engine import CanConnect, CanProbe, Engine, Key
from stoker.errors import BadInput, NotFound, Unfit
from stoker.finding import Finding
from stoker.job import Job, JobEvent, JobKind, JobSpec, JobState
from stoker.schedule import unfit
from stoker.schedule.victims import loss
from stoker.store.jobs import Filter, JobStore, Move
from stoker.telemetry import Telemetry, read_telemetry
from stoker.typed import dump
from stoker.units import format_duration
from stoker.why import explain

_STREAMS = ("stdout", "stderr")
_HOLDING = (JobState.STARTING, JobState.RUNNING, JobState.STOPPING)
_PAGE = 1000  # longest list in one answer
_TAIL_BYTES = 4096
_TELEMETRY_BYTES = 64 << 20


class JobDesk:
    def __init__(
        self,
        store: JobStore,
        roster: Roster,
        dispatcher: Dispatcher,
        changes: Changes,
        clock: Clock,
        package: Callable[[str, Account], object],
        homed: Callable[[Sequence[JobSpec], Account], Sequence[JobSpec]] = lambda specs, _who: specs,
    ) -> None:
        """`package` raises NotFound for an uploaded package that is not there for somebody. `homed` puts jobs into
        their queues, and raises BadInput or Unfit for those that cannot be there."""
        self._package = package
        self._homed = homed
        self._store = store
        self._engines = roster
        self._dispatcher = dispatcher
        self._changes = changes
        self._clock = clock

    def submit(
        self,
        specs: Sequence[JobSpec],
        who: Account,
        *,
        idempotency: str = "",
        occasion: str = "",
        ship: str = "",
    ) -> list[Job]:
        """Store the jobs, all or none; arrays become one job per index.

        In one submission a dependency on job -n means its n-th spec, counted from 1. With an `idempotency` key
        that was used before, the jobs of that time are returned and nothing is stored. `occasion` is the same for
        the platform itself, whose second spec may differ from the first, as nodes and settings change in between.
        Raises Unfit for what can never run here or in its queue, BadInput for unknown or circular dependencies,
        Conflict, NoSpace.
        """
        require(who, Role.USER, "submit jobs")
        self._check_dependencies(specs, who)
        self._check_luggage(specs, who, ours=bool(occasion))
        _check_deadlines(specs, self._clock.now())
        homed = self._homed(specs, who)
        drafts = drafts_of(homed)
        self.check_fit(homed)
        jobs = self._store.add(
            drafts,
            tenant=who.tenant,
            owner=who.name,
            ship=ship,
            at=self._clock.now(),
            key=idempotency or occasion,
            digest=_digest(specs) if idempotency else "",
        )
        self._moved()
        return jobs

    def get(self, job_id: int, who: Account) -> Job:
        """Raises NotFound, also for the jobs of others' tenants."""
        job = self._store.get(job_id)
        require_sight(who, job.tenant, "job", str(job_id))
        return self._explained(job)

    def resolve(self, label: str, who: Account) -> list[Job]:
        """The jobs that `label` names: an id (an array: all of it), an element ``17_3``, or a name (the newest)."""
        head, _, index = label.partition("_")
        found: list[Job] = []
        if head.isdecimal() and (index.isdecimal() or label == head):
            found = [job for job in self._store.of_array(int(head)) if not index or job.array_index == int(index)]
            if not found and not index:
                found = self._store.by_ids([int(head)])
        elif label:
            found = self._store.find(Filter(tenant=_tenant(who), name=label), limit=1)
            if found and found[0].array_id is not None:
                found = self._store.of_array(found[0].array_id)
        visible = [self._explained(job) for job in found if sees(who, job.tenant)]
        if not visible:
            names = {job.spec.name for job in self._store.find(Filter(tenant=_tenant(who)), limit=200)}
            raise NotFound.named("job", label, names)
        return visible

    def find(
        self,
        who: Account,
        *,
        states: Sequence[JobState] = (),
        owner: str = "",
        name: str = "",
        ship: str = "",
        kind: JobKind | None = None,
        limit: int = 100,
        before: int | None = None,
    ) -> list[Job]:
        """Newest first; the next page has the ids `before` the last one's."""
        wanted = Filter(_tenant(who), owner, name, ship, kind, tuple(states), before)
        return [self._explained(job) for job in self._store.find(wanted, limit=max(1, min(limit, _PAGE)))]

    def counts(self, who: Account) -> Mapping[JobState, int]:
        return self._store.counts(Filter(tenant=_tenant(who)))

    def cancel(self, job_ids: Sequence[int], who: Account) -> list[Job]:
        """Ask that these end; those that have ended already stay as they are. Returns all of them as they are now.

        The id of an array means all of it.
        """
        require(who, Role.USER, "cancel jobs")
        jobs = {job.id: job for job_id in job_ids for job in self._array_or_one(job_id, who)}
        while moves := [_cancelling(job, who.name, self._clock.now()) for job in jobs.values() if _can_cancel(job)]:
            if self._store.move(moves, at=self._clock.now(), durable=True):
                self._moved()
            jobs = {job.id: job for job in self._store.by_ids(list(jobs))}  # a lost race is tried again
        return list(jobs.values())

    def events(self, job_id: int, who: Account) -> list[JobEvent]:
        self.get(job_id, who)
        return self._store.events(job_id)

    def logs(
        self,
        job_id: int,
        who: Account,
        *,
        stream: str = "stdout",
        offset: int = 0,
        limit: int = 1 << 20,
        attempt: int | None = None,
    ) -> bytes:
        """Up to `limit` bytes of output from byte `offset`, of the last attempt unless told; empty for no more."""
        job = self.get(job_id, who)
        if stream not in _STREAMS:
            raise BadInput(f'stream "{stream}" was given; allowed are {" and ".join(_STREAMS)}', param="stream")
        if offset < 0 or limit < 0:
            raise BadInput("offset and limit of a log cannot be negative", param="offset")
        key = Key(job_id, job.attempt if attempt is None else attempt)
        engine = self._engine_of(job)
        if engine is None or not 1 <= key.attempt <= job.attempt:
            return b""
        return engine.logs(key, stream=stream, offset=offset, limit=limit)

    def displaced_for(self, job_id: int) -> int:
        """Jobs that were ended so that this one gets in, and have not started again."""
        return self._store.displaced_for(job_id)

    @property
    def decides(self) -> bool:
        """Whether it is this process that places jobs."""
        return self._dispatcher.passed_at > 0.0

    def decided_since(self, moment: float) -> bool:
        """Whether a whole pass of this process has begun after `moment`: none that knew less is under way."""
        return self._dispatcher.passed_at > moment

    def beside(self, job: Job) -> list[Job]:
        """Active jobs that hold a device of `job` too."""
        active = self._store.find(Filter(states=_HOLDING), limit=sys.maxsize)
        return [one for one in active if one.id != job.id and one.engine == job.engine and _share_devices(one, job)]

    def preempt(self, jobs: Sequence[Job], why: str) -> None:
        """Ask that these go, and run again later; for the platform itself."""
        if preempt(self._store, [job.id for job in jobs], why, self._clock.now()):
            self._moved()

    def homed(self, spec: JobSpec, who: Account) -> JobSpec:
        """`spec` as it would be queued; raises as `submit` does."""
        (found,) = self._homed([spec], who)
        return found

    def telemetry(self, job_id: int, who: Account) -> Telemetry:
        """What the job's last attempt told of itself through the probe."""
        return self._telemetry(self.get(job_id, who))

    def reach(self, job: Job, url: str) -> str:
        """`url`, which the job's attempt says it listens at, as this machine reaches it; may take a moment.

        Raises Away when the way there is closed.
        """
        engine = able(self._engine_of(job), CanConnect)
        parts = urlsplit(url)
        if engine is None or parts.port is None:
            return url
        host, port = engine.connect(Key(job.id, job.attempt), parts.port)
        return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{port}"

    def why(self, job_id: int, who: Account, language: str = "en") -> Finding:
        """How the job runs or ended, and what to do. Why one waits says the ExplanationDesk."""
        job, now = self.get(job_id, who), self._clock.now()
        may_go = job.spec.preemptible and job.state is JobState.RUNNING
        return explain(
            job,
            tail=self._tail(job) if job.state.final and job.attempt else b"",
            telemetry=self._telemetry(job),
            now=now,
            loses=loss(job, now, self._dispatcher.seen.policy) if may_go else None,
            language=language,
        )

    def wait_change(self, since: int, timeout: float) -> int:
        """The counter raised at every move of anything, once it differs from `since` or after `timeout` s."""
        return self._changes.wait(since, timeout)

    @property
    def changed(self) -> int:
        """The counter now."""
        return self._changes.count

    def _telemetry(self, job: Job) -> Telemetry:
        engine = able(self._engine_of(job), CanProbe)
        if not job.attempt or engine is None:
            return Telemetry()
        told = engine.probe(Key(job.id, job.attempt), limit=_TELEMETRY_BYTES)
        return read_telemetry(told.splitlines(), f"job/{job.id}")

    def _moved(self) -> None:
        self._changes.bump()
        self._dispatcher.wake()

    def _explained(self, job: Job) -> Job:
        """A pending job with the reason that the last scheduling pass gave, an active one with its engine's."""
        if job.state.final:
            return job
        pending = job.state is JobState.PENDING
        wait = self._dispatcher.waits.get(job.id) if pending else self._dispatcher.told(job)
        return dataclasses.replace(job, reason=wait.reason, message=wait.message) if wait else job

    def _array_or_one(self, job_id: int, who: Account) -> list[Job]:
        jobs = self._store.of_array(job_id) or [self._store.get(job_id)]
        require_sight(who, jobs[0].tenant, "job", str(job_id))
        return jobs

    def _engine_of(self, job: Job) -> Engine | None:
        """The engine of the job's last attempt."""
        return self._engines.get(job.engine)

    def _tail(self, job: Job) -> bytes:
        engine = self._engine_of(job)
        if engine is None:
            return b""
        key = Key(job.id, job.attempt)
        for stream in reversed(_STREAMS):
            if tail := _last(engine, key, stream):
                return tail
        return b""

    def _check_dependencies(self, specs: Sequence[JobSpec], who: Account) -> None:
        named = sorted({dependency.job for spec in specs for dependency in spec.depends if dependency.job > 0})
        known = {job.id for job in self._store.by_ids(named) if sees(who, job.tenant)} if named else set()
        missing = [str(job_id) for job_id in named if job_id not in known]
        if missing:
            raise BadInput(f"depends on job {', '.join(missing)}, which does not exist", param="depends")

    def _check_luggage(self, specs: Sequence[JobSpec], who: Account, *, ours: bool) -> None:
        for package in {spec.package for spec in specs if spec.package}:
            self._package(package, who)
        if not ours and any(spec.attached for spec in specs):
            raise BadInput("attached is for the platform's own jobs; send files as a package", param="attached")

    def check_fit(self, specs: Sequence[JobSpec]) -> None:
        """Raises Unfit for what can never run on what there is."""
        if not self._dispatcher.knows_all_nodes:
            return
        nodes = self._dispatcher.nodes()
        judged: set[tuple[object, int, str]] = set()
        for spec in specs:
            shape = (spec.resources, spec.min_nodes or spec.nodes, spec.engine)
            if shape in judged:
                continue
            judged.add(shape)
            if reason := unfit(spec, nodes):
                raise Unfit(f'job "{spec.name}" {reason}', param="resources")


def _tenant(who: Account) -> str:
    """The tenant whose jobs `who` may see; empty for all."""
    return "" if who.role is Role.ADMIN else who.tenant


def _can_cancel(job: Job) -> bool:
    return not job.state.final and not job.cancel_requested


def _cancelling(job: Job, who: str, now: float) -> Move:
    told = f"cancelled by {who}"
    if job.state is JobState.PENDING:
        fields = {"cancel_requested": True, "ended_at": now}
        return Move(job, JobState.CANCELLED, "Cancelled", told, fields)
    return Move(job, JobState.STOPPING, "Cancelled", told, {"cancel_requested": True})


def _check_deadlines(specs: Sequence[JobSpec], now: float) -> None:
    """Raises Unfit for a deadline that would not be kept even by a start at once."""
    for spec in specs:
        if spec.deadline is not None and (left := spec.deadline - now) < (spec.time_limit or 0.0):
            when = f"in {format_duration(left)}" if left > 0 else f"past since {format_duration(-left)}"
            needs = f"; the job may take {format_duration(spec.time_limit)}" if spec.time_limit else ""
            raise Unfit(f'job "{spec.name}" cannot keep its deadline, which is {when}{needs}', param="deadline")


def _share_devices(one: Job, other: Job) -> bool:
    mine = {(place.node, device) for place in one.placements for device in place.devices}
    return any((place.node, device) in mine for place in other.placements for device in place.devices)


def _digest(specs: Sequence[JobSpec]) -> str:
    return hashlib.sha256(json.dumps([dump(spec) for spec in specs], sort_keys=True).encode()).hexdigest()


def _last(engine: Engine, key: Key, stream: str) -> bytes:
    """The end of a log of unknown length, found by doubling steps."""
    size = 0
    step = _TAIL_BYTES
    while engine.logs(key, stream=stream, offset=size + step, limit=1):
        size += step
        step *= 2
    while step > 1:
        step //= 2
        if engine.logs(key, stream=stream, offset=size + step, limit=1):
            size += step
    return engine.logs(key, stream=stream, offset=max(0, size + 1 - _TAIL_BYTES), limit=_TAIL_BYTES)
