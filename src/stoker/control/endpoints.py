"""Endpoints: bring versions up, keep their replicas running, tell the gateway where they listen."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

from stoker.account import Account, Role
from stoker.clock import Clock
from stoker.cluster import Node
from stoker.control.changes import Changes
from stoker.control.jobs import JobDesk
from stoker.control.replica_keys import ReplicaKeys, drop
from stoker.control.replicas import recipe_spec, replica_spec
from stoker.control.rights import platform, require, sees
from stoker.control.routes import Routes
from stoker.control.sleepers import Sleepers
from stoker.endpoint import MOST_REPLICAS, Endpoint, EndpointSettings, Replica, ReplicaState, Scaling
from stoker.errors import Away, BadInput, Conflict, NotFound, StokerError
from stoker.home import Home
from stoker.job import Job, JobSpec
from stoker.serve.changes import (
    coming_up,
    resized,
    returned,
    scaled,
    stopped,
    switched,
    with_replica,
    without_candidate,
)
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
from stoker.store.endpoints import EndpointStore, KeptEndpoint, missing
from stoker.store.registry import Registry

log = logging.getLogger(__name__)

Change = Callable[[Endpoint], Endpoint]

PLATFORM = platform()
_AFTER_TROUBLE_S = 5.0


class EndpointDesk:
    """Thread-safe. `reconcile` is called by the platform's loop; everything else by people and the gateway."""

    def __init__(
        self,
        store: EndpointStore,
        jobs: JobDesk,
        registry: Registry,
        artifacts: Artifacts,
        attachments: Attachments,
        home: Home,
        clock: Clock,
        changes: Changes,
        largest_node: Callable[[str], Node | None],
    ) -> None:
        self._store = store
        self._jobs = jobs
        self._registry = registry
        self._artifacts = artifacts
        self._attachments = attachments
        self._keys = ReplicaKeys(home)
        self._clock = clock
        self._changes = changes
        self._largest_node = largest_node
        self._routes = Routes()
        self._sleepers = Sleepers(jobs)
        self._in_flight: Mapping[int, int] = {}
        self._refresh_routes()

    def observe(self, in_flight: Mapping[int, int]) -> None:
        """`in_flight`: how many requests each replica (by its job) is working on, as the gateway counts them."""
        self._in_flight = in_flight

    # for people

    def find(self, who: Account) -> list[Endpoint]:
        return [kept.endpoint for kept in self._store.all() if sees(who, kept.endpoint.tenant)]

    def get(self, name: str, who: Account) -> Endpoint:
        endpoint = self._store.get(name).endpoint
        if not sees(who, endpoint.tenant):
            raise missing(name)
        return endpoint

    def deploy(
        self,
        name: str,
        version: int,
        who: Account,
        *,
        replicas: int | None = None,
        scaling: Scaling | None = None,
        queue: str = "",
    ) -> Endpoint:
        """Serve `version` of the model `name` with so many replicas, or as many between two bounds as its load asks
        for, or as it did so far; it answers once one of them is ready."""
        require(who, Role.USER, "deploy a model")
        if replicas is not None and not 1 <= replicas <= MOST_REPLICAS:
            raise BadInput(f"{replicas} replicas were asked for; allowed is 1 to {MOST_REPLICAS}", param="replicas")
        if scaling is None and replicas is not None:
            scaling = Scaling(replicas, replicas)
        owners = {model: tenant for model, tenant in self._registry.tenants().items() if sees(who, tenant)}
        owner = owners.get(name)
        if owner is None:
            raise NotFound.named("model", name, owners)
        self._registry.version(name, version)
        self.bring_up(name, version, tenant=owner, owner=who.name, switch=True)
        return self._change(name, lambda endpoint: scaled(endpoint, scaling or endpoint.scaling, queue))

    def scale(self, name: str, settings: EndpointSettings, who: Account) -> Endpoint:
        """Serve what it serves within other bounds."""
        require(who, Role.USER, "scale an endpoint")
        self.get(name, who)
        return self._change(name, lambda endpoint: scaled(endpoint, settings.scaling, settings.queue))

    def stop(self, name: str, who: Account) -> Endpoint:
        """Take the endpoint down: replicas finish their answers and end; the registered model stays."""
        require(who, Role.USER, "stop an endpoint")
        endpoint = self.get(name, who)
        self._change(name, stopped)
        if kept := self._store.maybe(name):
            self._remove_if_done(kept)
        return endpoint

    # for the gateway: in memory, no database

    def route(self, name: str, tenant: str | None) -> list[Replica]:
        """Replicas that may answer `name` (or ``name@VERSION``) to `tenant`; None sees everything.

        Empty when none is ready. Raises NotFound when the tenant has no such endpoint, or it no such version.
        """
        return self._routes.route(name, tenant)

    def patience(self, name: str) -> float:
        """Seconds that a request for `name` may wait for a replica; 0 where none is started for it."""
        return self._routes.patience(name)

    # for the scheduler: in memory

    def lent(self) -> set[int]:
        """Jobs of replicas that sleep: their devices are others'."""
        return self._routes.lent()

    # for lending: in memory, until something changes

    def live(self) -> list[Endpoint]:
        """All endpoints, as the gateway sees them."""
        return self._routes.live()

    def resize(self, name: str, replicas: int, cause: str) -> None:
        """Let it have so many replicas, within its bounds; not one that is stopped or does not follow its load."""
        if self._store.maybe(name) is not None:
            self._change(name, lambda one: resized(one, replicas, cause))

    # for shipments and promotions

    def bring_up(
        self, name: str, version: int, *, tenant: str, owner: str, switch: bool, engine: str = "", queue: str = ""
    ) -> None:
        """Start a replica of `version` beside what answers now. `switch`: let it take over when ready.

        A new endpoint has its replicas on `engine` and in `queue`; one that is there stays where it is.
        """
        now = self._clock.now()
        fresh = Endpoint(name, tenant, owner, version=None, wanted=1, created_at=now, engine=engine, queue=queue)
        while True:
            kept = self._store.maybe(name)
            endpoint = kept.endpoint if kept else fresh
            if endpoint.tenant != tenant:
                raise Conflict(f'the endpoint name "{name}" is taken by another tenant; choose another name')
            coming = coming_up(endpoint, version, switch=switch)
            if coming == endpoint:
                return
            if self._store.save(coming, kept.revision) if kept else self._store.add(coming):
                self._refresh_routes()
                self._changes.bump()
                return

    def standing(self, name: str, version: int) -> tuple[Replica | None, str]:
        """A ready replica of `version`, and why there will be none (empty while it may still come)."""
        kept = self._store.maybe(name)
        if kept is None:
            return None, f'the endpoint "{name}" was stopped'
        for replica in kept.endpoint.replicas:
            if replica.version == version and replica.state is ReplicaState.READY:
                return replica, ""
        wanted = version in (kept.endpoint.version, kept.endpoint.candidate)
        return None, "" if wanted else kept.endpoint.message or f"version {version} was taken down"

    def switch(self, name: str, version: int, settings: EndpointSettings | None = None) -> None:
        """Let `version` answer, within other bounds if any are given; what answered before finishes and ends."""

        def change(endpoint: Endpoint) -> Endpoint:
            changed = switched(endpoint, version)
            return scaled(changed, settings.scaling, settings.queue) if settings else changed

        self._change(name, change)

    def drop_candidate(self, name: str, version: int, message: str) -> None:
        """Take a candidate down again; what answered before goes on."""
        if self._store.maybe(name) is not None:
            self._change(name, lambda one: without_candidate(one, version, message))

    # for those who ask what it could have

    def replica(self, endpoint: Endpoint) -> JobSpec:
        """What one more replica of it would ask for; raises NotFound where no version answers."""
        if endpoint.version is None:
            raise NotFound(f'"{endpoint.name}" serves no version yet')
        registered = self._registry.version(endpoint.name, endpoint.version)
        spec = replica_spec(endpoint, registered, "", self._largest_node(endpoint.engine))
        return self._jobs.homed(spec, platform(endpoint.tenant, endpoint.owner))

    # for the loop

    def reconcile(self) -> float:
        """Bring every endpoint one step nearer to what it should be; seconds until it wants to be asked again."""
        waits = [self._carefully(kept) for kept in self._store.all()]
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
            if not self._store.save(endpoint, kept.revision):
                self._undo(kept.endpoint, endpoint)
                return 0.0  # somebody changed it meanwhile: look again
            kept = KeptEndpoint(endpoint, kept.revision + 1)
            self._refresh_routes()
            self._changes.bump()
        self._remove_if_done(kept)
        return _AFTER_TROUBLE_S if trouble else _patience(endpoint)

    def _undo(self, before: Endpoint, after: Endpoint) -> None:
        """End what was started for an endpoint that somebody else has changed: nobody would know of it."""
        kept = self._store.maybe(before.name)
        known = {one.job for one in (*before.replicas, *(kept.endpoint.replicas if kept else ()))}
        lost = [one for one in after.replicas if one.job not in known]
        self._jobs.cancel([one.job for one in lost], PLATFORM)
        for one in lost:
            drop(one)

    def _remove_if_done(self, kept: KeptEndpoint) -> None:
        endpoint = kept.endpoint
        done = not endpoint.replicas and endpoint.version is None and endpoint.candidate is None
        if done and self._store.remove(endpoint.name, kept.revision):
            self._refresh_routes()
            self._changes.bump()

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
        if self._routes.reach(found):
            self._refresh_routes()

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
                return self._sleepers.rouse(endpoint, _replica(endpoint, job), now, self.lent())
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
        self._routes.forget(job)
        return replace(endpoint, replicas=tuple(one for one in endpoint.replicas if one.job != job))

    def _change(self, name: str, change: Change) -> Endpoint:
        while True:
            kept = self._store.get(name)
            changed = change(kept.endpoint)
            if changed == kept.endpoint:
                return changed
            if self._store.save(changed, kept.revision):
                self._refresh_routes()
                self._changes.bump()
                return changed

    def _refresh_routes(self) -> None:
        self._routes.refresh(kept.endpoint for kept in self._store.all())


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
