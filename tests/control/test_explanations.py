"""Why a job waits, on a real platform: who may know what, and forecasts beside what came."""

from __future__ import annotations

from pathlib import Path

import pytest

from stoker.account import Account, Role
from stoker.app import App
from stoker.control.forecasts import Forecasts
from stoker.errors import Conflict, NotFound
from stoker.explanation import Cause, ChangeKind
from stoker.job import Job, JobSpec, JobState, Resources
from stoker.store.database import Database
from stoker.store.jobs import Draft, JobStore, Move
from stoker.store.predictions import Prediction, PredictionStore
from tests.control.conftest import runs, until


def _submit(app: App, who: Account, name: str, seconds: int = 600, **fields: object) -> Job:
    spec = JobSpec(name=name, command=("sleep", str(seconds)), **fields)  # type: ignore[arg-type]
    return app.jobs.submit([spec], who)[0]


def test_the_answer_names_what_the_asker_may_know(app: App, who: Account) -> None:
    ann = app.accounts.create("ann", Role.USER, "speech", who)[0]
    secret = _submit(app, who, "secret", resources=Resources(accelerators=6, models=("H100",)), time_limit=3600.0)
    runs(app, secret, who)
    gang = _submit(app, who, "gang", resources=Resources(accelerators=8), priority=90)
    mine = _submit(app, ann, "mine", resources=Resources(accelerators=2))
    until(app, mine, who, lambda now: now.reason == "Priority")

    all_of_it = app.explanations.explain(mine.id, who, nodes=True)
    assert all_of_it.because.cause is Cause.RESERVATION
    assert all_of_it.because.values["job"] == gang.label
    assert [holder.name for holder in all_of_it.holders] == ["secret"]
    assert [one.name for one in all_of_it.line.first] == ["gang"]
    assert {change.kind for change in all_of_it.changes} == {ChangeKind.SHORTER, ChangeKind.PRIORITY}
    assert len(all_of_it.nodes) == sum(all_of_it.refusals.values()) == 1

    hers = app.explanations.explain(mine.id, ann)
    assert hers.because.values["job"] == ""
    assert [(one.name, one.owner, one.hidden, one.devices) for one in hers.holders] == [("", "", True, 6)]
    assert [(one.job, one.name, one.hidden) for one in hers.line.first] == [("", "", True)]
    assert hers.holders[0].until == all_of_it.holders[0].until
    assert "secret" not in str(hers)
    with pytest.raises(NotFound):
        app.explanations.explain(gang.id, ann)
    with pytest.raises(Conflict, match="does not wait"):
        app.explanations.explain(secret.id, who)


def test_a_change_that_is_offered_really_starts_the_job(app: App, who: Account) -> None:
    runs(app, _submit(app, who, "big", resources=Resources(accelerators=6), time_limit=3600.0), who)
    waits = _submit(app, who, "waits", resources=Resources(accelerators=4))
    until(app, waits, who, lambda now: now.reason == "Resources")
    (change,) = app.explanations.explain(waits.id, who).at_once
    assert (change.kind, change.values["devices"]) == (ChangeKind.DEVICES, 2)
    app.jobs.cancel([waits.id], who)
    runs(app, _submit(app, who, "again", resources=Resources(accelerators=2)), who)


def test_who_would_be_ended_is_told_with_what_is_lost_and_named_to_whom_may_know(app: App, who: Account) -> None:
    ann = app.accounts.create("ann", Role.USER, "speech", who)[0]
    six = Resources(accelerators=6)
    secret = _submit(app, who, "secret", resources=six, preemptible=True, min_runtime=3000.0, priority=10)
    runs(app, secret, who)
    mine = _submit(app, ann, "mine", resources=Resources(accelerators=8), priority=50)
    until(app, mine, who, lambda now: now.reason == "Resources")
    ending = app.explanations.explain(mine.id, who).ending
    assert ending is not None
    assert [(one.job, one.name, one.devices, one.rests_on) for one in ending.victims] == [
        (secret.label, "secret", 6, "untold")
    ]
    assert 2900.0 < ending.left_s < 3000.0
    hers = app.explanations.explain(mine.id, ann).ending
    assert hers is not None
    assert [(one.job, one.name, one.owner, one.hidden, one.devices) for one in hers.victims] == [
        ("", "", "", True, 6)
    ]


def test_what_was_predicted_is_compared_with_what_came(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/x.db")
    database.migrate()
    jobs, predictions = JobStore(database), PredictionStore(database)
    spec = JobSpec(command=("x",), resources=Resources(accelerators=2), nodes=3, time_limit=100.0)
    for share in range(1, 11):  # real waiting as a share of 100 s predicted: 0.1 to 1.0
        (job,) = jobs.add([Draft(spec)], tenant="t", owner="o", ship="", at=1000.0)
        predictions.add(Prediction(job.id, 1, 1000.0, 1100.0))
        predictions.add(Prediction(job.id, 1, 1050.0, 9999.0))  # a later word does not count
        started = {"attempt": 1, "started_at": 1000.0 + 10 * share}
        (job,) = jobs.move([Move(job, JobState.STARTING, fields=started)], at=0.0)
        jobs.move([Move(job, JobState.SUCCEEDED, fields={"ended_at": 1040.0 + 10 * share})], at=0.0)
        if share == 9:
            assert predictions.accuracy().low is None  # too few to say anything
    found = predictions.accuracy()
    assert (found.count, found.low, found.middle, found.high) == (10, 0.2, 0.6, 1.0)
    ran = predictions.ran()
    assert {(one.user, one.devices, one.limit, one.seconds) for one in ran} == {(("t", "o"), 6, 100.0, 40.0)}
    database.close()


def test_waiting_jobs_are_predicted_without_being_asked_for(app: App, who: Account) -> None:
    runs(app, _submit(app, who, "runs", resources=Resources(accelerators=8), time_limit=3600.0), who)
    waits = _submit(app, who, "waits", resources=Resources(accelerators=8))
    until(app, waits, who, lambda now: now.reason == "Resources")
    store = PredictionStore(app.database)
    Forecasts(store, app.dispatcher, app.clock).sweep()
    found = store.of(waits.id, 1)
    assert found is not None
    assert found.start - found.at == pytest.approx(3600.0, abs=120.0)
