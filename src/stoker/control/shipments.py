"""Shipments: take requests, and carry each one stage further whenever something it waits for has happened."""

from __future__ import annotations

import logging
import secrets
from dataclasses import replace
from pathlib import Path
from threading import Lock

from stoker.account import Account, Role
from stoker.clock import Clock
from stoker.control.changes import Changes
from stoker.control.jobs import JobDesk
from stoker.control.request import RequestReader
from stoker.control.rights import platform, require, require_sight
from stoker.control.shipment_work import ShipmentWork
from stoker.errors import Away, Conflict
from stoker.job import JobSpec, Resources
from stoker.ship.chain import steps_of
from stoker.ship.changes import resumed, stopped
from stoker.ship.decide import decide
from stoker.shipment import Shipment, ShipmentRequest, ShipmentState, Stage, StageRun
from stoker.store.artifacts import Artifacts
from stoker.store.shipments import KeptShipment, ShipmentStore
from stoker.telemetry import Telemetry

log = logging.getLogger(__name__)

PLATFORM = platform()


class ShipmentDesk:
    """Thread-safe. `advance` is called by the platform's loop; everything else by people."""

    def __init__(
        self,
        store: ShipmentStore,
        reader: RequestReader,
        work: ShipmentWork,
        jobs: JobDesk,
        artifacts: Artifacts,
        clock: Clock,
        changes: Changes,
    ) -> None:
        self._store = store
        self._reader = reader
        self._work = work
        self._jobs = jobs
        self._artifacts = artifacts
        self._clock = clock
        self._changes = changes
        self._creating = Lock()

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
            message = f"cancelled by {who.name}"
            cancelled = stopped(kept.shipment, ShipmentState.CANCELLED, message, self._clock.now())
            if self._store.save(cancelled, kept.revision):
                self._work.end(kept.shipment)
                return cancelled

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
            again = resumed(kept.shipment, self._reader.sources(kept.shipment.request, who))
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
        self._work.begin_pass([kept.shipment for kept in running])
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
            for action in decide(self._work.look(shipment)):
                shipment = self._work.do(shipment, action)
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
            self._work.end(shipment)  # cancelled meanwhile: what was begun in this pass would go on unseen
        self._changes.bump()


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
