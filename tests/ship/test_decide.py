from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from stoker.job import Job, JobSpec, JobState
from stoker.ship.chain import CHAIN, key_of
from stoker.ship.decide import Act, Again, Done, Fail, Reuse, RunJob, Snapshot, Succeed, decide
from stoker.shipment import Shipment, Stage, StageRun, StageState

from .test_chain import finish, shipment

ALL = tuple(step.stage for step in CHAIN)


def job(state: JobState, exit_code: int | None = None) -> Job:
    return Job(7, JobSpec(command=("true",)), "default", "ann", state, 0.0, exit_code=exit_code)


def running(given: Shipment, stage: Stage, key: str = "k") -> Shipment:
    runs = tuple(
        replace(run, state=StageState.RUNNING, key=key, job=7) if run.stage is stage else run
        for run in given.stages
    )
    return replace(given, stages=runs, version=3)


def test_it_starts_with_the_import() -> None:
    (action,) = decide(Snapshot(shipment(), {}))
    assert isinstance(action, RunJob)
    assert (action.stage, action.recipe, action.sources) == (Stage.IMPORT, "import_data", ("data", "heldout"))


def test_what_is_finished_is_not_run_again() -> None:
    key = key_of(CHAIN[0], shipment())
    assert key is not None
    assert decide(Snapshot(shipment(), {key: {"kept": 3}})) == (Reuse(Stage.IMPORT, key, {"kept": 3}),)


def test_evaluation_and_export_go_side_by_side() -> None:
    actions = decide(Snapshot(finish(shipment(), Stage.IMPORT, Stage.CURATE, Stage.TRAIN), {}))
    assert {action.stage for action in actions if isinstance(action, RunJob)} == {Stage.EVALUATE, Stage.EXPORT}


def test_a_job_that_failed_fails_its_stage_with_what_it_said() -> None:
    snapshot = Snapshot(
        running(shipment(), Stage.IMPORT),
        {},
        {7: job(JobState.FAILED, 2)},
        {7: "wrong columns: a, b; needed: messages"},
    )
    assert decide(snapshot) == (Fail(Stage.IMPORT, "wrong columns: a, b; needed: messages", 2),)


def test_a_verification_lost_with_its_machine_begins_anew_and_finds_the_replica_where_it_is_now() -> None:
    before = tuple(stage for stage in ALL if stage not in (Stage.VERIFY, Stage.PROMOTE))
    verifying = running(finish(shipment(), *before), Stage.VERIFY)
    assert decide(Snapshot(verifying, {}, {7: job(JobState.NODE_FAIL)})) == (Again(Stage.VERIFY),)
    (refused,) = decide(Snapshot(verifying, {}, {7: job(JobState.FAILED, 1)}))
    assert isinstance(refused, Fail)


def test_a_job_that_ended_well_without_its_output_is_no_success() -> None:
    snapshot = Snapshot(running(shipment(), Stage.IMPORT), {}, {7: job(JobState.SUCCEEDED, 0)})
    (action,) = decide(snapshot)
    assert isinstance(action, Fail)


def test_the_output_counts_even_when_the_job_is_unknown() -> None:
    assert decide(Snapshot(running(shipment(), Stage.IMPORT), {"k": {"kept": 1}})) == (
        Done(Stage.IMPORT, {"kept": 1}),
    )


def test_deployment_waits_for_a_replica_and_says_why_there_is_none() -> None:
    before = tuple(stage for stage in ALL if stage not in (Stage.DEPLOY, Stage.VERIFY, Stage.PROMOTE))
    deploying = running(finish(shipment(), *before), Stage.DEPLOY)
    assert decide(Snapshot(deploying, {})) == ()
    assert decide(Snapshot(deploying, {}, candidate_ready=True)) == (Done(Stage.DEPLOY, {"version": 3}),)
    assert decide(Snapshot(deploying, {}, candidate_failed="no memory")) == (Fail(Stage.DEPLOY, "no memory"),)


def test_a_platform_stage_that_was_interrupted_is_done_again() -> None:
    before = (Stage.IMPORT, Stage.CURATE, Stage.TRAIN, Stage.EVALUATE, Stage.EXPORT)
    assert decide(Snapshot(running(finish(shipment(), *before), Stage.REGISTER), {})) == (Act(Stage.REGISTER),)


def test_it_succeeds_when_every_stage_has() -> None:
    assert decide(Snapshot(finish(shipment(), *ALL), {})) == (Succeed(),)


@given(st.sets(st.sampled_from(ALL)), st.sampled_from([StageState.WAITING, StageState.RUNNING]))
def test_nothing_begins_before_what_it_needs(done: set[Stage], state: StageState) -> None:
    given_shipment = finish(shipment(), *done)
    runs = tuple(
        run if run.state.ended_well else replace(run, state=state, key="k", job=7) for run in given_shipment.stages
    )
    actions = decide(Snapshot(replace(given_shipment, stages=runs), {}))
    needs = {step.stage: set(step.needs) for step in CHAIN}
    for action in actions:
        if isinstance(action, RunJob):
            assert needs[action.stage] <= done
        if isinstance(action, Act) and state is StageState.WAITING:
            assert needs[action.stage] <= done


def test_a_failed_stage_waits_for_people() -> None:
    runs = tuple(StageRun(stage, StageState.FAILED) for stage in ALL)
    assert decide(Snapshot(replace(shipment(), stages=runs), {})) == ()
