"""Shipments: take requests, and carry each one stage further whenever something it waits for has happened."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any

from stoker.account import Account, Role
from stoker.clock import Clock
from stoker.cluster import Node
from stoker.control.changes import Changes
from stoker.control.endpoints import EndpointDesk
from stoker.control.jobs import JobDesk
from stoker.control.models import CHAMPION, ModelDesk
from stoker.control.request import RequestReader
from stoker.control.rights import platform, require, require_sight
from stoker.control.stages import StageJobs
from stoker.engine_config import EngineConfig
from stoker.errors import Away, Conflict, StokerError
from stoker.home import Home
from stoker.job import Job, JobSpec, JobState, Resources
from stoker.model import ModelVersion
from stoker.ship.chain import CHAIN, config_of, key_of, ready, steps_of
from stoker.ship.decide import Act, Action, Again, Done, Fail, Reuse, RunJob, Snapshot, Succeed, decide
from stoker.shipment import Shipment, ShipmentRequest, ShipmentState, Stage, StageRun, StageState
from stoker.store.artifacts import Artifacts
from stoker.store.attachments import Attachments
from stoker.store.registry import Registry
from stoker.store.shipments import KeptShipment, ShipmentStore
from stoker.telemetry import Telemetry

log = logging.getLogger(__name__)

PLATFORM = platform()
_LIVE = tuple(state for state in JobState if not state.final)


class ShipmentDesk:
    """Thread-safe. `advance` is called by the platform's loop; everything else by people."""

    def __init__(
        self,
        store: ShipmentStore,
        jobs: JobDesk,
        models: ModelDesk,
        endpoints: EndpointDesk,
        registry: Registry,
        artifacts: Artifacts,
        attachments: Attachments,
        home: Home,
        clock: Clock,
        changes: Changes,
        largest_node: Callable[[str], Node | None],
        engines: Callable[[], Sequence[EngineConfig]],
        file_path: Callable[[str, Account], Path],
    ) -> None:
        """`engines`: those that were added. `file_path` tells where an uploaded file lies."""
        self._store = store
        self._jobs = jobs
        self._models = models
        self._endpoints = endpoints
        self._registry = registry
        self._artifacts = artifacts
        self._clock = clock
        self._changes = changes
        self._reader = RequestReader(registry, artifacts, home, largest_node, file_path)
        self._stage_jobs = StageJobs(jobs, artifacts, attachments, largest_node, engines)
        self._creating = Lock()
        self._under_way: dict[str, int] = {}  # content address -> the job that is making it
        self._deploying: dict[str, str] = {}  # model -> the shipment whose candidate its endpoint has

    # for people

    def create(self, request: ShipmentRequest, who: Account) -> Shipment:
        """Start a shipment, or find the one that is under way for the very same request.

        Reads all data once for its digest. Raises BadInput, NotFound (with near names), Conflict.
        """
        require(who, Role.USER, "ship a model")
        request, sources, digest = self._reader.read(request, who)
        self._jobs.check_fit(_wishes(request))
        shipment = Shipment(
            id=f"ship-{secrets.token_hex(5)}",
            request=request,
            tenant=who.tenant,
            owner=who.name,
            state=ShipmentState.RUNNING,
            created_at=self._clock.now(),
            sources=sources,
            stages=tuple(StageRun(step.stage) for step in steps_of(request)),
        )
        with self._creating:
            running = self._store.same_request(digest, who.tenant)
            if running is not None:
                return running
            self._store.add(shipment, digest)
        self._changes.bump()
        return shipment

    def get(self, shipment_id: str, who: Account) -> Shipment:
        shipment = self._store.get(shipment_id).shipment
        require_sight(who, shipment.tenant, "shipment", shipment_id)
        return shipment

    def find(self, who: Account, *, limit: int = 100) -> list[Shipment]:
        """Newest first."""
        return self._store.find(tenant=None if who.role is Role.ADMIN else who.tenant, limit=limit)

    def cancel(self, shipment_id: str, who: Account) -> Shipment:
        """Stop here. What is finished stays and is used by the next one; safe to repeat."""
        require(who, Role.USER, "cancel a shipment")
        self.get(shipment_id, who)
        while True:
            kept = self._store.get(shipment_id)
            if kept.shipment.state is not ShipmentState.RUNNING:
                return kept.shipment
            stopped = self._stopped(kept.shipment, ShipmentState.CANCELLED, f"cancelled by {who.name}")
            if self._store.save(stopped, kept.revision):
                self._end_work(kept.shipment)
                return stopped

    def resume(self, shipment_id: str, who: Account) -> Shipment:
        """Go on where it stopped; raises Conflict while it runs or when it has succeeded.

        When what it reads is another by now, every stage is looked at again: those it does not touch are reused.
        """
        require(who, Role.USER, "resume a shipment")
        self.get(shipment_id, who)
        while True:
            kept = self._store.get(shipment_id)
            if kept.shipment.state in (ShipmentState.RUNNING, ShipmentState.SUCCEEDED):
                raise Conflict(f"shipment {shipment_id} is {kept.shipment.state}; there is nothing to resume")
            sources = self._reader.sources(kept.shipment.request, who)
            same = sources == kept.shipment.sources
            again = replace(
                kept.shipment,
                state=ShipmentState.RUNNING,
                ended_at=None,
                message="",
                sources=sources,
                stages=tuple(_reset(run, keep=same) for run in kept.shipment.stages),
                version=kept.shipment.version if same else None,
            )
            if self._store.save(again, kept.revision):
                self._changes.bump()
                return again

    def telemetry(self, shipment_id: str, stage: Stage, who: Account) -> Telemetry:
        """What the stage's job tells of itself; empty when it has none."""
        shipment = self.get(shipment_id, who)
        run = next((run for run in shipment.stages if run.stage is stage), None)
        if run is None or run.job is None:
            return Telemetry()
        return self._jobs.telemetry(run.job, PLATFORM)

    def artifact(self, shipment_id: str, stage: Stage, who: Account) -> Path | None:
        """The finished output of a stage as a folder here, None when it has none."""
        run = next((run for run in self.get(shipment_id, who).stages if run.stage is stage), None)
        return self._artifacts.here(run.key) if run and run.key and run.state.ended_well else None

    # for the loop

    def advance(self) -> float:
        """Carry every running shipment on; seconds until it wants to be asked again."""
        running = self._store.running()
        self._under_way = _jobs_by_key(kept.shipment for kept in running)
        self._deploying = {
            kept.shipment.request.name: kept.shipment.id for kept in running if _deploys(kept.shipment)
        }
        for kept in running:
            self._carefully(kept)
        return 1.0 if running else 60.0

    def _carefully(self, kept: KeptShipment) -> None:
        try:
            self._advance(kept)
        except Exception:
            # As in the carrier: one bad shipment must not stop the others.
            log.exception("shipment %s could not be carried on", kept.shipment.id)
            told = replace(kept.shipment, message="the platform failed on it, its log says why; it is tried again")
            if told != kept.shipment:
                self._store.save(told, kept.revision)

    def _advance(self, kept: KeptShipment) -> None:
        shipment = replace(kept.shipment, message="")  # told of a trouble that is over, or is told again
        try:
            for action in decide(self._look(shipment)):
                shipment = self._attempt(shipment, action)
                if shipment.state is not ShipmentState.RUNNING:
                    break
        except (Away, OSError) as error:  # it passes; what was done before it is kept
            trouble = (error.strerror or "") if isinstance(error, OSError) else str(error)
            shipment = replace(shipment, message=trouble)
        if shipment == kept.shipment:
            return
        if shipment.message and shipment.message != kept.shipment.message:
            log.warning("shipment %s: %s", shipment.id, shipment.message)
        saved = self._store.save(shipment, kept.revision)  # if somebody was faster, the next look sees it
        if not saved and self._store.get(shipment.id).shipment.state is not ShipmentState.RUNNING:
            self._end_work(shipment)  # cancelled meanwhile: what was begun in this pass would go on unseen
        self._changes.bump()

    def _attempt(self, shipment: Shipment, action: Action) -> Shipment:
        """`action` done. What can never be done fails its stage; what only is away now is raised."""
        try:
            return self._apply(shipment, action)
        except Away:
            raise
        except StokerError as error:
            if isinstance(action, Succeed):
                raise
            return self._fail(shipment, action.stage, str(error), error.exit_code)

    def _look(self, shipment: Shipment) -> Snapshot:
        """Everything the decision needs, loaded at once."""
        running = [run for run in shipment.stages if run.state is StageState.RUNNING]
        jobs = {run.job: self._jobs.get(run.job, PLATFORM) for run in running if run.job is not None}
        ended = [run for run in running if run.job is None or jobs[run.job].state.final]
        # A depot is asked over the network: only for what must be there by now.
        keys = {run.key for run in (ended if self._artifacts.remote else running)} | _keys(shipment)
        errors = {job.id: self._trouble(job) for job in jobs.values() if job.state.final}
        ready, failed = self._standing(shipment)
        finished = self._artifacts.finished(keys)
        return Snapshot(shipment, finished, jobs, errors, ready, failed)

    def _trouble(self, job: Job) -> str:
        """What a job that ended says went wrong, in its own words where it has any."""
        if job.state is JobState.SUCCEEDED:
            return ""
        told = self._jobs.telemetry(job.id, PLATFORM).error
        if told:
            return told
        last = self._jobs.why(job.id, PLATFORM).evidence[-1:] or ("",)
        return f"{job.message or job.state} (job {job.id}): {last[0]}"

    def _standing(self, shipment: Shipment) -> tuple[bool, str]:
        deploying = any(r.stage is Stage.DEPLOY and r.state is StageState.RUNNING for r in shipment.stages)
        if not deploying or shipment.version is None:
            return False, ""
        replica, failed = self._endpoints.standing(shipment.request.name, shipment.version)
        return replica is not None, failed

    def _apply(self, shipment: Shipment, action: Action) -> Shipment:
        match action:
            case RunJob():
                return self._run_job(shipment, action)
            case Reuse(stage, key, result):
                return self._stage(shipment, stage, state=StageState.REUSED, key=key, result=result)
            case Done(stage, result):
                return self._done(shipment, stage, result)
            case Fail(stage, message, exit_code):
                return self._fail(shipment, stage, message, exit_code)
            case Again(stage):
                attempt = shipment.stage(stage).attempt + 1
                return self._stage(shipment, stage, state=StageState.WAITING, job=None, attempt=attempt)
            case Act(stage):
                return self._act(shipment, stage)
            case Succeed():
                return replace(shipment, state=ShipmentState.SUCCEEDED, ended_at=self._clock.now())

    def _run_job(self, shipment: Shipment, action: RunJob) -> Shipment:
        live: dict[str, str] = {}
        if action.stage is Stage.VERIFY and shipment.version is not None:
            replica, failed = self._endpoints.standing(shipment.request.name, shipment.version)
            if replica is None:
                return self._fail(shipment, Stage.VERIFY, failed, None) if failed else shipment
            url = self._jobs.reach(self._jobs.get(replica.job, PLATFORM), replica.url)
            live = {"url": url, "model": shipment.request.name, "key_file": replica.key_file}
        # Two shipments that need the same thing wait for one job: its checkpoints have one writer.
        job = self._under_way.get(action.key) or self._stage_jobs.submit(shipment, action, live)
        self._under_way[action.key] = job
        return self._stage(
            shipment, action.stage, state=StageState.RUNNING, key=action.key, job=job, started_at=self._clock.now()
        )

    def _done(self, shipment: Shipment, stage: Stage, result: object) -> Shipment:
        if stage is Stage.IMPORT and self._data_changed(shipment):
            message = "the data changed while it was read; run again once nothing writes to it"
            return self._fail(shipment, stage, message, 2)
        return self._stage(shipment, stage, state=StageState.DONE, result=result, ended_at=self._clock.now())

    def _data_changed(self, shipment: Shipment) -> bool:
        names = ("data", "heldout")
        mine = [shipment.sources[name] for name in names if name in shipment.sources]
        return any(self._artifacts.digest(Path(source.path)) != source.digest for source in mine)

    def _act(self, shipment: Shipment, stage: Stage) -> Shipment:
        """The stages the platform does itself. Each is safe to repeat."""
        now = self._clock.now()
        if stage is Stage.REGISTER:
            made = self._register(shipment)
            shipment = replace(shipment, version=made.version)
            result: dict[str, Any] = {"version": made.version, "parent": made.parent}
            return self._stage(shipment, stage, state=StageState.DONE, started_at=now, ended_at=now, result=result)
        version = shipment.version
        if version is None:
            return self._fail(shipment, stage, "no version is registered; run again", None)
        name = shipment.request.name
        if stage is Stage.DEPLOY:
            first = self._deploying.setdefault(name, shipment.id)
            if first != shipment.id:  # an endpoint has one candidate: the other shipment's is not taken from it
                return replace(shipment, message=f"waits for {first}, which deploys {name}")
            shipment = replace(shipment, message="")
            self._endpoints.bring_up(
                name,
                version,
                tenant=shipment.tenant,
                owner=shipment.owner,
                switch=False,
                engine=shipment.request.engine,
                queue=shipment.request.endpoint.queue if shipment.request.endpoint else "",
            )
            return self._stage(shipment, stage, state=StageState.RUNNING, started_at=now)
        replica, failed = self._endpoints.standing(name, version)
        if replica is None:  # it died since it was verified: what answers now goes on until it is back
            return self._fail(shipment, stage, failed, None) if failed else shipment
        promotion = self._models.record(name, version, shipment.owner, CHAMPION, "promote")
        self._endpoints.switch(name, version, shipment.request.endpoint)
        result = {"alias": CHAMPION, "version": version, "previous": promotion.previous}
        return self._stage(shipment, stage, state=StageState.DONE, started_at=now, ended_at=now, result=result)

    def _register(self, shipment: Shipment) -> ModelVersion:
        results = {run.stage: run.result for run in shipment.stages}
        keys = {run.stage: run.key for run in shipment.stages}
        train = next(step for step in CHAIN if step.stage is Stage.TRAIN)
        draft = ModelVersion(
            model=shipment.request.name,
            version=0,
            created_at=self._clock.now(),
            artifact=keys[Stage.EXPORT],
            engine=str(results[Stage.EXPORT].get("engine", "llama.cpp")),
            base=shipment.request.base,
            parent=self._registry.alias(shipment.request.name, CHAMPION)
            if shipment.request.name in self._registry.tenants()
            else None,
            dataset=str(results[Stage.CURATE].get("digest", keys[Stage.CURATE])),
            config={name: str(value) for name, value in config_of(train, shipment.request).items()},
            metrics=_metrics(results),
            ship=shipment.id,
        )
        made_from = f"{keys[Stage.EXPORT]}:{keys[Stage.EVALUATE]}"
        return self._registry.register(draft, key=made_from, tenant=shipment.tenant)

    def _fail(self, shipment: Shipment, stage: Stage, message: str, exit_code: int | None) -> Shipment:
        now = self._clock.now()
        shipment = self._stage(
            shipment, stage, state=StageState.FAILED, message=message, exit_code=exit_code, ended_at=now
        )
        stopped = self._stopped(shipment, ShipmentState.FAILED, f"{stage}: {message}")
        self._end_work(shipment)
        return stopped

    def _stopped(self, shipment: Shipment, state: ShipmentState, message: str) -> Shipment:
        now = self._clock.now()
        stages = tuple(
            replace(run, state=StageState.CANCELLED, ended_at=now) if run.state is StageState.RUNNING else run
            for run in shipment.stages
        )
        return replace(shipment, state=state, ended_at=now, message=message, stages=stages)

    def _end_work(self, shipment: Shipment) -> None:
        """End its jobs that nobody else waits for, and an unverified replica.

        Its jobs are those of its running stages, and one that was submitted but not yet noted there.
        """
        others = [kept.shipment for kept in self._store.running() if kept.shipment.id != shipment.id]
        submitted = self._jobs.find(PLATFORM, ship=shipment.id, states=_LIVE)
        mine = {run.job for run in shipment.stages if run.state is StageState.RUNNING and run.job is not None}
        mine |= {job.id for job in submitted}
        self._jobs.cancel(sorted(mine.difference(_jobs_by_key(others).values())), PLATFORM)
        name, version = shipment.request.name, shipment.version
        if version is not None and (name, version) not in {(one.request.name, one.version) for one in others}:
            self._endpoints.drop_candidate(name, version, "it was not verified")

    def _stage(self, shipment: Shipment, stage: Stage, **changes: object) -> Shipment:
        stages = tuple(
            replace(run, **changes) if run.stage is stage else run  # type: ignore[arg-type]
            for run in shipment.stages
        )
        return replace(shipment, stages=stages)


def _deploys(shipment: Shipment) -> bool:
    return any(run.stage is Stage.DEPLOY and run.state is not StageState.WAITING for run in shipment.stages)


def _jobs_by_key(shipments: Iterable[Shipment]) -> dict[str, int]:
    return {
        run.key: run.job
        for shipment in shipments
        for run in shipment.stages
        if run.state is StageState.RUNNING and run.job is not None
    }


def _keys(shipment: Shipment) -> set[str]:
    """The addresses of what could begin now."""
    waiting = {run.stage for run in shipment.stages if run.state is StageState.WAITING}
    steps = [step for step in steps_of(shipment.request) if step.recipe and step.stage in waiting]
    keys = (key_of(step, shipment) for step in steps if ready(step, shipment))
    return {key for key in keys if key}


def _wishes(request: ShipmentRequest) -> list[JobSpec]:
    """What its stages will ask for as far as the request says so: refused now rather than hours later."""
    needs = dict(request.resources) or {"stages": Resources()}
    return [
        JobSpec(
            f"{request.name}.{stage}",
            ("true",),
            resources=need,
            nodes=request.nodes if stage in (Stage.TRAIN, "stages") else 1,
            min_nodes=request.min_nodes if stage in (Stage.TRAIN, "stages") else 0,
            engine=request.engine,
        )
        for stage, need in needs.items()
    ]


def _reset(run: StageRun, *, keep: bool) -> StageRun:
    if keep and run.state.ended_well:
        return run
    return StageRun(run.stage, attempt=run.attempt + 1)


def _metrics(results: Mapping[Stage, object]) -> dict[str, float]:
    """Numbers of evaluation and training by dotted names: ``evaluate.new.exact_match``."""
    found: dict[str, float] = {}
    for stage in (Stage.EVALUATE, Stage.TRAIN):
        _flatten(stage.value, results.get(stage), found)
    return found


def _flatten(name: str, value: object, into: dict[str, float]) -> None:
    if isinstance(value, bool):
        return
    if isinstance(value, (int, float)):
        into[name] = float(value)
    elif isinstance(value, dict):
        for key, inner in value.items():
            _flatten(f"{name}.{key}", inner, into)
