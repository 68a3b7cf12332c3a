"""Keeps replicas running: brings every endpoint, step by step, to what it should be."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

from stoker.clock import Clock
from stoker.cluster import Node
from stoker.control.endpoint_book import EndpointBook
from stoker.control.jobs import JobDesk
from stoker.control.replica_keys import ReplicaKeys, drop
from stoker.control.replicas import recipe_spec, replica_spec
from stoker.control.rights import platform
from stoker.control.sleepers import Sleepers
from stoker.endpoint import Endpoint, Replica, ReplicaState
from stoker.errors import Away, NotFound, StokerError
from stoker.home import Home
from stoker.job import Job, JobSpec
from stoker.serve.changes import returned, switched, with_replica, without_candidate
from stoker.serve.decide import (
    Action,
    Drain,
    Failed,
    Forget,
    GiveUpCandidate,
    Ready,
    Rouse,
    Sleep,
    Snapshot,
    Start,
    Stop,
    Switch,
    Unready,
    Wake,
    decide,
)
from stoker.store.artifacts import Artifacts
from stoker.store.attachments import SERVICE_KEY, SPEC, Attachments
from stoker.store.endpoints import KeptEndpoint
from stoker.store.registry import Registry

log = logging.getLogger(__name__)

PLATFORM = platform()
_AFTER_TROUBLE_S = 5.0


class ReplicaKeeper:
    """`reconcile` is called by the platform's loop alone."""

    def __init__(
        self,
        book: EndpointBook,
        jobs: JobDesk,
        registry: Registry,
        artifacts: Artifacts,
        attachments: Attachments,
        home: Home,
        clock: Clock,
        largest_node: Callable[[str], Node | None],
    ) -> None:
        self._book = book
        self._jobs = jobs
        self._registry = registry
        self._artifacts = artifacts
        self._attachments = attachments
        self._keys = ReplicaKeys(home)
        self._clock = clock
        self._largest_node = largest_node
        self._sleepers = Sleepers(jobs)
        self._in_flight: Mapping[int, int] = {}

    def observe(self, in_flight: Mapping[int, int]) -> None:
        """`in_flight`: how many requests each replica (by its job) is working on, as the gateway counts them."""
        self._in_flight = in_flight

    def one_more(self, endpoint: Endpoint) -> JobSpec:
        """What one more replica of it would ask for; raises NotFound where no version answers."""
        if endpoint.version is None:
            raise NotFound(f'"{endpoint.name}" serves no version yet')
        registered = self._registry.version(endpoint.name, endpoint.version)
        spec = replica_spec(endpoint, registered, "", self._largest_node(endpoint.engine))
        return self._jobs.homed(spec, platform(endpoint.tenant, endpoint.owner))

    def reconcile(self) -> float:
        """Bring every endpoint one step nearer to what it should be; seconds until it wants to be asked again."""
        waits = [self._carefully(kept) for kept in self._book.all()]
        return min(waits, default=60.0)

    def _carefully(self, kept: KeptEndpoint) -> float:
        try:
            return self._reconcile(kept)
        except Exception:
            # As in the carrier: one bad endpoint must not stop the others.
            log.exception("endpoint %s could not be carried on", kept.endpoint.name)
            return _AFTER_TROUBLE_S

    def _reconcile(self, kept: KeptEndpoint) -> float:
        endpoint, trouble = kept.endpoint, ""
        try:
            snapshot = self._look(endpoint)
            endpoint = snapshot.endpoint
            for action in decide(snapshot):
                endpoint = self._apply(endpoint, action, kept.revision)
        except (StokerError, OSError) as error:  # what was done before it is kept
            trouble = (error.strerror or "") if isinstance(error, OSError) else str(error)
            log.warning("endpoint %s: %s", endpoint.name, trouble)
            endpoint = replace(endpoint, message=trouble)
        if endpoint != kept.endpoint:
            if not self._book.save(endpoint, kept.revision):
                self._undo(kept.endpoint, endpoint)
                return 0.0  # somebody changed it meanwhile: look again
            kept = KeptEndpoint(endpoint, kept.revision + 1)
        self._book.remove_if_done(kept)
        return _AFTER_TROUBLE_S if trouble else _patience(endpoint)

    def _undo(self, before: Endpoint, after: Endpoint) -> None:
        """End what was started for an endpoint that somebody else has changed: nobody would know of it."""
        kept = self._book.maybe(before.name)
        known = {one.job for one in (*before.replicas, *(kept.endpoint.replicas if kept else ()))}
        lost = [one for one in after.replicas if one.job not in known]
        self._jobs.cancel([one.job for one in lost], PLATFORM)
        for one in lost:
            drop(one)

    def _look(self, endpoint: Endpoint) -> Snapshot:
        jobs = {replica.job: self._jobs.get(replica.job, PLATFORM) for replica in endpoint.replicas}
        urls, errors = {}, {}
        for replica in endpoint.replicas:
            if replica.state is ReplicaState.STARTING or jobs[replica.job].state.final:
                told = self._jobs.telemetry(replica.job, PLATFORM)
                errors[replica.job] = told.error
                if told.ready_url:
                    urls[replica.job] = told.ready_url
        endpoint = self._with_displaced(endpoint)
        self._find_ways(endpoint, jobs)
        told_errors = {job: text for job, text in errors.items() if text}
        busy = frozenset(job for job in jobs if self._in_flight.get(job))
        able = frozenset(job.id for job in jobs.values() if self._sleepers.able(job))
        return Snapshot(endpoint, jobs, urls, told_errors, busy, able, self._clock.now())

    def _with_displaced(self, endpoint: Endpoint) -> Endpoint:
        """Who goes for a replica that starts may be back on fewer nodes before it answers."""
        for replica in endpoint.replicas:
            if replica.state is ReplicaState.STARTING:
                seen = max(replica.displaced, self._jobs.displaced_for(replica.job))
                endpoint = with_replica(endpoint, replica.job, displaced=seen)
        return endpoint

    def _find_ways(self, endpoint: Endpoint, jobs: Mapping[int, Job]) -> None:
        """A replica on another machine may be reached through a tunnel, which another platform may have opened."""
        found: dict[tuple[int, int], str] = {}
        for replica in endpoint.replicas:
            if replica.state is ReplicaState.READY:
                try:
                    found[replica.job, replica.attempt] = self._jobs.reach(jobs[replica.job], replica.url)
                except Away as error:
                    log.warning("endpoint %s: job %d: %s", endpoint.name, replica.job, error)
        if self._book.routes.reach(found):
            self._book.refresh()

    def _apply(self, endpoint: Endpoint, action: Action, revision: int) -> Endpoint:
        now = self._clock.now()
        match action:
            case Start(version):
                return self._start(endpoint, version, revision)
            case Ready(job, attempt, url):
                if _replica(endpoint, job).state is ReplicaState.STARTING:
                    endpoint = returned(endpoint, self._jobs.get(job, PLATFORM), now)
                return with_replica(endpoint, job, state=ReplicaState.READY, attempt=attempt, url=url, since=now)
            case Unready(job):
                return with_replica(endpoint, job, state=ReplicaState.STARTING, url="", since=now)
            case Drain(job):
                return with_replica(endpoint, job, state=ReplicaState.DRAINING, since=now)
            case Sleep(job):
                return self._sleepers.doze(endpoint, _replica(endpoint, job), now)
            case Wake(job):
                return with_replica(endpoint, job, state=ReplicaState.WAKING, since=now, displaced=0)
            case Rouse(job):
                return self._sleepers.rouse(endpoint, _replica(endpoint, job), now, self._book.routes.lent())
            case Stop(job):
                self._jobs.cancel([job], PLATFORM)
                return endpoint
            case Failed(job, message):
                log.warning("endpoint %s: %s", endpoint.name, message)
                return replace(with_replica(endpoint, job, state=ReplicaState.FAILED, since=now), message=message)
            case Forget(job):
                return self._forget(endpoint, job)
            case Switch(version):
                return switched(endpoint, version)
            case GiveUpCandidate(version, message):
                return without_candidate(endpoint, version, message)

    def _start(self, endpoint: Endpoint, version: int, revision: int) -> Endpoint:
        # The same decision on the same revision has the same name: killed between the submission and the
        # save, the platform finds the job it had submitted instead of submitting another.
        number = sum(one.version == version for one in endpoint.replicas)
        occasion = f"endpoint/{endpoint.name}/{endpoint.created_at}/{revision}/{version}/{number}"
        key_file = self._keys.file(occasion)
        registered = self._registry.version(endpoint.name, version)
        attached = self._attachments.lay(
            occasion, {SPEC: recipe_spec(endpoint, registered, self._artifacts), SERVICE_KEY: key_file}
        )
        spec = replica_spec(endpoint, registered, attached, self._largest_node(endpoint.engine))
        who = platform(endpoint.tenant, endpoint.owner)
        (job,) = self._jobs.submit([spec], who, occasion=occasion)
        replica = Replica(job.id, version, since=self._clock.now(), key_file=str(key_file))
        return replace(endpoint, replicas=(*endpoint.replicas, replica))

    def _forget(self, endpoint: Endpoint, job: int) -> Endpoint:
        for replica in endpoint.replicas:
            if replica.job == job:
                drop(replica)
        self._book.routes.forget(job)
        return replace(endpoint, replicas=tuple(one for one in endpoint.replicas if one.job != job))


def _replica(endpoint: Endpoint, job: int) -> Replica:
    return next(one for one in endpoint.replicas if one.job == job)


def _patience(endpoint: Endpoint) -> float:
    """A starting replica announces itself in a file: look often. Draining and backing off go by the clock."""
    states = {replica.state for replica in endpoint.replicas}
    if states & {ReplicaState.STARTING, ReplicaState.WAKING}:
        return 0.1
    if states & {ReplicaState.DRAINING, ReplicaState.FAILED}:
        return 1.0
    return 60.0
