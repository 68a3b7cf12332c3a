"""The work of shipments: what the decision needs to know is looked up, and what was decided is done."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from stoker.clock import Clock
from stoker.control.endpoints import EndpointDesk
from stoker.control.jobs import JobDesk
from stoker.control.models import CHAMPION, ModelDesk
from stoker.control.rights import platform
from stoker.control.stages import StageJobs
from stoker.errors import Away, StokerError
from stoker.job import Job, JobState
from stoker.ship.chain import startable
from stoker.ship.changes import failed, with_stage
from stoker.ship.decide import Act, Action, Again, Done, Fail, Reuse, RunJob, Snapshot, Succeed
from stoker.ship.draft import draft
from stoker.shipment import Shipment, ShipmentState, Stage, StageState
from stoker.store.artifacts import Artifacts
from stoker.store.registry import Registry
from stoker.store.shipments import ShipmentStore

PLATFORM = platform()
_LIVE = tuple(state for state in JobState if not state.final)


class ShipmentWork:
    """Every action is safe to repeat. `look` and `do` are called by one thread, `end` by any."""

    def __init__(
        self,
        store: ShipmentStore,
        jobs: JobDesk,
        stage_jobs: StageJobs,
        models: ModelDesk,
        endpoints: EndpointDesk,
        registry: Registry,
        artifacts: Artifacts,
        clock: Clock,
    ) -> None:
        self._store = store
        self._jobs = jobs
        self._stage_jobs = stage_jobs
        self._models = models
        self._endpoints = endpoints
        self._registry = registry
        self._artifacts = artifacts
        self._clock = clock
        self._under_way: dict[str, int] = {}  # content address -> the job that is making it
        self._deploying: dict[str, str] = {}  # model -> the shipment whose candidate its endpoint has

    def begin_pass(self, running: Sequence[Shipment]) -> None:
        """What these have under way, so that none of them does it a second time."""
        self._under_way = _jobs_by_key(running)
        self._deploying = {one.request.name: one.id for one in running if _deploys(one)}

    def look(self, shipment: Shipment) -> Snapshot:
        """Everything the decision needs, loaded at once."""
        running = [run for run in shipment.stages if run.state is StageState.RUNNING]
        jobs = {run.job: self._jobs.get(run.job, PLATFORM) for run in running if run.job is not None}
        ended = [run for run in running if run.job is None or jobs[run.job].state.final]
        # A depot is asked over the network: only for what must be there by now.
        keys = {run.key for run in (ended if self._artifacts.remote else running)} | startable(shipment)
        errors = {job.id: self._trouble(job) for job in jobs.values() if job.state.final}
        ready, trouble = self._standing(shipment)
        return Snapshot(shipment, self._artifacts.finished(keys), jobs, errors, ready, trouble)

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
        """Whether what it deploys answers, and why it never will."""
        deploying = any(r.stage is Stage.DEPLOY and r.state is StageState.RUNNING for r in shipment.stages)
        if not deploying or shipment.version is None:
            return False, ""
        replica, trouble = self._endpoints.standing(shipment.request.name, shipment.version)
        return replica is not None, trouble

    def do(self, shipment: Shipment, action: Action) -> Shipment:
        """`action` done. What can never be done fails its stage; what only is away now is raised."""
        try:
            return self._do(shipment, action)
        except Away:
            raise
        except StokerError as error:
            if isinstance(action, Succeed):
                raise
            return self._fail(shipment, action.stage, str(error), error.exit_code)

    def end(self, shipment: Shipment) -> None:
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

    def _do(self, shipment: Shipment, action: Action) -> Shipment:
        match action:
            case RunJob():
                return self._run_job(shipment, action)
            case Reuse(stage, key, result):
                return with_stage(shipment, stage, state=StageState.REUSED, key=key, result=result)
            case Done(stage, result):
                return self._done(shipment, stage, result)
            case Fail(stage, message, exit_code):
                return self._fail(shipment, stage, message, exit_code)
            case Again(stage):
                attempt = shipment.stage(stage).attempt + 1
                return with_stage(shipment, stage, state=StageState.WAITING, job=None, attempt=attempt)
            case Act(stage):
                return self._act(shipment, stage)
            case Succeed():
                return replace(shipment, state=ShipmentState.SUCCEEDED, ended_at=self._clock.now())

    def _run_job(self, shipment: Shipment, action: RunJob) -> Shipment:
        live: dict[str, str] = {}
        if action.stage is Stage.VERIFY and shipment.version is not None:
            replica, trouble = self._endpoints.standing(shipment.request.name, shipment.version)
            if replica is None:
                return self._fail(shipment, Stage.VERIFY, trouble, None) if trouble else shipment
            url = self._jobs.reach(self._jobs.get(replica.job, PLATFORM), replica.url)
            live = {"url": url, "model": shipment.request.name, "key_file": replica.key_file}
        # Two shipments that need the same thing wait for one job: its checkpoints have one writer.
        job = self._under_way.get(action.key) or self._stage_jobs.submit(shipment, action, live)
        self._under_way[action.key] = job
        return with_stage(
            shipment, action.stage, state=StageState.RUNNING, key=action.key, job=job, started_at=self._clock.now()
        )

    def _done(self, shipment: Shipment, stage: Stage, result: object) -> Shipment:
        if stage is Stage.IMPORT and self._data_changed(shipment):
            message = "the data changed while it was read; run again once nothing writes to it"
            return self._fail(shipment, stage, message, 2)
        return with_stage(shipment, stage, state=StageState.DONE, result=result, ended_at=self._clock.now())

    def _data_changed(self, shipment: Shipment) -> bool:
        names = ("data", "heldout")
        mine = [shipment.sources[name] for name in names if name in shipment.sources]
        return any(self._artifacts.digest(Path(source.path)) != source.digest for source in mine)

    def _fail(self, shipment: Shipment, stage: Stage, message: str, exit_code: int | None) -> Shipment:
        shipment = with_stage(shipment, stage, state=StageState.FAILED)  # `end` leaves its job to itself
        self.end(shipment)
        return failed(shipment, stage, message, exit_code, self._clock.now())

    # the stages that the platform does itself

    def _act(self, shipment: Shipment, stage: Stage) -> Shipment:
        if stage is Stage.REGISTER:
            return self._register(shipment)
        if shipment.version is None:
            return self._fail(shipment, stage, "no version is registered; run again", None)
        if stage is Stage.DEPLOY:
            return self._deploy(shipment, shipment.version)
        return self._promote(shipment, shipment.version)

    def _register(self, shipment: Shipment) -> Shipment:
        began, name = self._clock.now(), shipment.request.name
        parent = self._registry.alias(name, CHAMPION) if name in self._registry.tenants() else None
        made_from = f"{shipment.stage(Stage.EXPORT).key}:{shipment.stage(Stage.EVALUATE).key}"
        made = self._registry.register(draft(shipment, parent, began), key=made_from, tenant=shipment.tenant)
        result = {"version": made.version, "parent": made.parent}
        return _did(replace(shipment, version=made.version), Stage.REGISTER, began, result)

    def _deploy(self, shipment: Shipment, version: int) -> Shipment:
        name, settings = shipment.request.name, shipment.request.endpoint
        first = self._deploying.setdefault(name, shipment.id)
        if first != shipment.id:  # an endpoint has one candidate: the other shipment's is not taken from it
            return replace(shipment, message=f"waits for {first}, which deploys {name}")
        self._endpoints.bring_up(
            name,
            version,
            tenant=shipment.tenant,
            owner=shipment.owner,
            switch=False,
            engine=shipment.request.engine,
            queue=settings.queue if settings else "",
        )
        shipment = replace(shipment, message="")
        return with_stage(shipment, Stage.DEPLOY, state=StageState.RUNNING, started_at=self._clock.now())

    def _promote(self, shipment: Shipment, version: int) -> Shipment:
        began, name = self._clock.now(), shipment.request.name
        replica, trouble = self._endpoints.standing(name, version)
        if replica is None:  # it died since it was verified: what answers now goes on until it is back
            return self._fail(shipment, Stage.PROMOTE, trouble, None) if trouble else shipment
        promotion = self._models.record(name, version, shipment.owner, CHAMPION, "promote")
        self._endpoints.switch(name, version, shipment.request.endpoint)
        result = {"alias": CHAMPION, "version": version, "previous": promotion.previous}
        return _did(shipment, Stage.PROMOTE, began, result)


def _did(shipment: Shipment, stage: Stage, now: float, result: object) -> Shipment:
    return with_stage(shipment, stage, state=StageState.DONE, started_at=now, ended_at=now, result=result)


def _deploys(shipment: Shipment) -> bool:
    return any(run.stage is Stage.DEPLOY and run.state is not StageState.WAITING for run in shipment.stages)


def _jobs_by_key(shipments: Iterable[Shipment]) -> dict[str, int]:
    return {
        run.key: run.job
        for shipment in shipments
        for run in shipment.stages
        if run.state is StageState.RUNNING and run.job is not None
    }
