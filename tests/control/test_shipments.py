"""Shipments when something does not go its way: none spins, none is forgotten, none stops the others."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stoker.account import Account, Role
from stoker.app import App
from stoker.control.rights import platform
from stoker.errors import NoSpace, NotFound, Unfit
from stoker.job import Job, JobSpec, Resources
from stoker.ship.decide import Act, RunJob
from stoker.shipment import Shipment, ShipmentRequest, ShipmentState, Stage, StageState

ANN = Account("ak-ann", "ann", Role.USER, "speech", 0.0)
BASE = "smollm2-135m-instruct"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """Its loops are not started: the tests take the steps one by one, and jobs stay in the queue."""
    app = App.open(tmp_path_factory.mktemp("platform") / "home", cpus=4)
    yield app
    app.stop()


@pytest.fixture(autouse=True)
def clean(app: App) -> Iterator[None]:
    yield
    for shipment in app.shipments.find(ANN):
        app.shipments.cancel(shipment.id, ANN)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    file = tmp_path / "data.jsonl"
    file.write_text('{"prompt": "a", "completion": "b"}\n')
    return file


def ship(app: App, data: Path, **changes: Any) -> Shipment:
    return app.shipments.create(ShipmentRequest(**{"data": str(data), "base": BASE, "name": "bot", **changes}), ANN)


def live(app: App) -> list[Job]:
    return [job for job in app.jobs.find(platform(), limit=1000) if not job.state.final]


def look(app: App, shipment: Shipment) -> Shipment:
    return app.shipments.get(shipment.id, ANN)


def during(app: App, monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Let `act` happen in the middle of the next pass: when it has submitted a job and not yet noted it."""
    submit = app.jobs.submit

    def submit_and_act(specs: list[JobSpec], who: Account, **keys: str) -> list[Job]:
        made = submit(specs, who, **keys)
        monkeypatch.undo()
        act()
        return made

    monkeypatch.setattr(app.jobs, "submit", submit_and_act)


def test_what_can_never_run_is_refused_before_anything_is_made(app: App, data: Path) -> None:
    for wish in ({"resources": {"evaluate": Resources(accelerators=9)}}, {"engine": "slurm"}):
        with pytest.raises(Unfit):
            ship(app, data, **wish)
    assert app.shipments.find(ANN) == []


def test_the_training_alone_is_elastic_and_may_be_displaced(app: App, data: Path) -> None:
    shipment = ship(app, data, nodes=2, min_nodes=1, preemptible=True)  # there is one node
    for stage, asked in ((Stage.TRAIN, (2, 1, True)), (Stage.CURATE, (1, 0, False))):
        action = RunJob(stage, "key", stage.value, {}, (), {})
        spec = app.jobs.get(app.shipment_work._stage_jobs.submit(shipment, action, {}), platform()).spec
        assert (spec.nodes, spec.min_nodes, spec.preemptible) == asked
        assert spec.returns
    with pytest.raises(Unfit):
        ship(app, data, nodes=2)


def test_a_job_submitted_while_the_shipment_is_cancelled_is_ended(
    app: App, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipment = ship(app, data)
    during(app, monkeypatch, lambda: app.shipments.cancel(shipment.id, ANN))
    app.shipments.advance()
    assert look(app, shipment).state is ShipmentState.CANCELLED
    assert live(app) == []


def test_a_job_submitted_before_a_kill_is_ended_by_a_cancel_after_it(
    app: App, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipment = ship(app, data)
    monkeypatch.setattr(app.shipments._store, "save", lambda *_: True)  # killed before it was noted
    app.shipments.advance()
    monkeypatch.undo()
    assert len(live(app)) == 1
    app.shipments.cancel(shipment.id, ANN)
    assert live(app) == []


def test_a_job_submitted_before_a_kill_is_found_again_though_its_spec_would_differ(
    app: App, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipment = ship(app, data)
    monkeypatch.setattr(app.shipments._store, "save", lambda *_: True)
    app.shipments.advance()
    monkeypatch.undo()
    smaller = dataclasses.replace(app.dispatcher.nodes()[0], cpus=1)
    monkeypatch.setattr(app.shipment_work._stage_jobs, "_largest_node", lambda _engine: smaller)
    app.shipments.advance()
    assert [job.id for job in live(app)] == [look(app, shipment).stage(Stage.IMPORT).job]


def test_a_job_that_another_shipment_waits_for_goes_on(app: App, data: Path) -> None:
    first, second = ship(app, data), ship(app, data, name="other")
    app.shipments.advance()
    app.shipments.cancel(first.id, ANN)
    assert [job.id for job in live(app)] == [look(app, second).stage(Stage.IMPORT).job]
    app.shipments.cancel(second.id, ANN)
    assert live(app) == []


def test_what_can_never_be_done_fails_its_stage(app: App, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipment = ship(app, data)

    def refuse(*_: object) -> int:
        raise NotFound("there is no such thing")

    monkeypatch.setattr(app.shipment_work._stage_jobs, "submit", refuse)
    app.shipments.advance()
    found = look(app, shipment)
    assert (found.state, found.message) == (ShipmentState.FAILED, "import: there is no such thing")
    assert (found.stage(Stage.IMPORT).state, found.stage(Stage.IMPORT).exit_code) == (StageState.FAILED, 2)


@pytest.mark.parametrize("trouble", [NoSpace("no space left"), OSError(28, "no space left"), RuntimeError("a bug")])
def test_a_trouble_that_passes_is_told_and_forgotten_and_does_not_stop_the_others(
    app: App, data: Path, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    shipment, other = ship(app, data), ship(app, data, heldout=str(data))
    submit = app.shipment_work._stage_jobs.submit

    def fail_one(given: Shipment, *rest: Any) -> int:
        if given.id == shipment.id:
            raise trouble
        return submit(given, *rest)

    monkeypatch.setattr(app.shipment_work._stage_jobs, "submit", fail_one)
    app.shipments.advance()
    assert look(app, shipment).state is ShipmentState.RUNNING
    assert look(app, shipment).message
    assert look(app, other).stage(Stage.IMPORT).state is StageState.RUNNING
    monkeypatch.undo()
    app.shipments.advance()
    assert look(app, shipment).message == ""
    assert look(app, shipment).stage(Stage.IMPORT).state is StageState.RUNNING


def test_resuming_with_other_data_does_not_mix_it_with_what_was_made_of_the_first(app: App, data: Path) -> None:
    shipment = ship(app, data)
    app.shipments.advance()
    key = look(app, shipment).stage(Stage.IMPORT).key
    finished = app.home.artifacts / key
    finished.mkdir()
    (finished / "result.json").write_text("{}")
    app.shipments.advance()
    assert look(app, shipment).stage(Stage.IMPORT).state is StageState.DONE
    app.shipments.cancel(shipment.id, ANN)
    assert app.shipments.resume(shipment.id, ANN).stage(Stage.IMPORT).state is StageState.DONE
    app.shipments.cancel(shipment.id, ANN)
    data.write_text('{"prompt": "c", "completion": "d"}\n')
    app.shipments.resume(shipment.id, ANN)
    app.shipments.advance()
    assert look(app, shipment).stage(Stage.IMPORT).key != key


def test_data_that_vanished_while_it_was_read_fails_the_shipment(app: App, data: Path) -> None:
    data.write_text('{"prompt": "soon", "completion": "gone"}\n')
    shipment = ship(app, data)
    app.shipments.advance()
    finished = app.home.artifacts / look(app, shipment).stage(Stage.IMPORT).key
    finished.mkdir()
    (finished / "result.json").write_text("{}")
    data.unlink()
    app.shipments.advance()
    assert look(app, shipment).state is ShipmentState.FAILED
    assert "nothing at" in look(app, shipment).message


def test_a_version_that_died_after_it_was_verified_does_not_take_over(
    app: App, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipment = dataclasses.replace(ship(app, data), version=7)
    monkeypatch.setattr(app.shipment_work._endpoints, "standing", lambda *_: (None, ""))
    assert app.shipment_work.do(shipment, Act(Stage.PROMOTE)) == shipment  # it may come back
    monkeypatch.setattr(
        app.shipment_work._endpoints, "standing", lambda *_: (None, "replica (job 3) ended: no memory")
    )
    assert app.shipment_work.do(shipment, Act(Stage.PROMOTE)).state is ShipmentState.FAILED


def test_shipments_of_one_model_deploy_one_after_the_other(app: App, data: Path) -> None:
    app.shipments.advance()
    first, second = (dataclasses.replace(ship(app, data, method=method), version=7) for method in ("lora", "full"))
    try:
        deploying = app.shipment_work.do(first, Act(Stage.DEPLOY))
        waiting = app.shipment_work.do(second, Act(Stage.DEPLOY))
        assert deploying.stage(Stage.DEPLOY).state is StageState.RUNNING
        assert waiting.stage(Stage.DEPLOY).state is StageState.WAITING
        assert waiting.message == f"waits for {first.id}, which deploys bot"
        app.shipments.advance()  # as after the end of the first: nobody deploys
        assert app.shipment_work.do(waiting, Act(Stage.DEPLOY)).stage(Stage.DEPLOY).state is StageState.RUNNING
    finally:
        app.endpoints.stop("bot", ANN)
