"""The job desk on a running platform."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from stoker.account import Account, Role
from stoker.app import App
from stoker.errors import BadInput, Conflict, Denied, NotFound, Unfit
from stoker.finding import Verdict
from stoker.job import Condition, Dependency, Job, JobSpec, JobState, Resources
from tests.control.conftest import ended, runs, until


def shell(text: str, **fields: object) -> JobSpec:
    return JobSpec(command=("sh", "-c", text), **fields)  # type: ignore[arg-type]


def submit(app: App, who: Account, text: str, **fields: object) -> Job:
    return app.jobs.submit([shell(text, **fields)], who)[0]


def user(app: App, who: Account, name: str, tenant: str, role: Role = Role.USER) -> Account:
    return app.accounts.create(name, role, tenant, who)[0]


def test_a_job_runs_and_its_log_and_exit_code_are_kept(app: App, who: Account) -> None:
    job = submit(app, who, "echo hello; exit 3")
    over = ended(app, job, who)
    assert (over.state, over.exit_code, over.reason) == (JobState.FAILED, 3, "NonZeroExitCode")
    assert app.jobs.logs(job.id, who) == b"hello\n"
    states = [event.state for event in app.jobs.events(job.id, who)]
    assert states == [JobState.PENDING, JobState.STARTING, JobState.RUNNING, JobState.FAILED]


def test_a_running_job_can_be_cancelled(app: App, who: Account) -> None:
    job = submit(app, who, "sleep 600")
    runs(app, job, who)
    (stopping,) = app.jobs.cancel([job.id], who)
    assert stopping.state is JobState.STOPPING
    over = ended(app, job, who)
    assert (over.state, over.message) == (JobState.CANCELLED, "cancelled by admin")
    assert app.jobs.cancel([job.id], who) == [over]


def test_a_waiting_job_is_cancelled_at_once(app: App, who: Account) -> None:
    submit(app, who, "sleep 600", resources=Resources(cpus=4))
    job = submit(app, who, "true", resources=Resources(cpus=4))
    assert app.jobs.cancel([job.id], who)[0].state is JobState.CANCELLED
    assert ended(app, job, who).attempt == 0


def test_nine_of_eight_devices_are_refused(app: App, who: Account) -> None:
    with pytest.raises(Unfit, match=r'^job "job" asks for 9 devices; the largest node has 8$'):
        submit(app, who, "true", resources=Resources(accelerators=9))
    with pytest.raises(Unfit, match=r"asks for 1 × T4; there are: H100"):
        submit(app, who, "true", resources=Resources(accelerators=1, models=("T4",)))
    with pytest.raises(Unfit, match=r"asks for 5 CPUs; the largest node has 4"):
        submit(app, who, "true", resources=Resources(cpus=5))
    with pytest.raises(Unfit, match=r"of memory; the largest node has"):
        submit(app, who, "true", resources=Resources(memory=1 << 50))
    with pytest.raises(Unfit, match=r"asks for 2 nodes; 1 could hold it"):
        submit(app, who, "true", nodes=2)
    with pytest.raises(Unfit, match=r'asks for engine "slurm"; there are: local'):
        submit(app, who, "true", engine="slurm")
    assert app.jobs.find(who) == []


def test_one_bad_job_keeps_the_whole_submission_out(app: App, who: Account) -> None:
    with pytest.raises(Unfit):
        app.jobs.submit([shell("true"), shell("true", resources=Resources(accelerators=9))], who)
    assert app.jobs.find(who) == []


def test_devices_are_shared_out_and_never_twice(app: App, who: Account) -> None:
    jobs = [
        submit(app, who, "echo $CUDA_VISIBLE_DEVICES; sleep 600", resources=Resources(accelerators=3, cpus=1))
        for _ in range(3)
    ]
    first, second = runs(app, jobs[0], who), runs(app, jobs[1], who)
    held = first.placements[0].devices + second.placements[0].devices
    assert len(set(held)) == 6
    waiting = until(app, jobs[2], who, lambda job: job.reason == "Resources")
    assert waiting.state is JobState.PENDING
    assert "3 × device" in waiting.message


def test_names_with_quotes_and_slashes_are_refused() -> None:
    for name in ("a/b", "a'b", 'a"b', "a\\b", "$(x)", "`x`", "", "a\nb", "x" * 129):
        with pytest.raises(BadInput, match="is no job name"):
            shell("true", name=name)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (JobSpec(script="echo hi\n"), "does not start with #!"),
        (JobSpec(script="#!/bin/sh\r\necho hi\r\n"), "Windows line ends"),
        (JobSpec(command=("x",), workdir="here"), "absolute path"),
        (JobSpec(command=("x",), array=(1, 1)), "twice"),
        (JobSpec(command=("x",), depends=(Dependency(0),)), "depends on job 0"),
        (JobSpec(command=("x",), depends=(Dependency(77),)), "depends on job 77, which does not exist"),
        (JobSpec(command=("x",), depends=(Dependency(-2),)), "only 1 were given"),
    ],
)
def test_bad_submissions(app: App, who: Account, spec: JobSpec, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        app.jobs.submit([spec], who)
    assert app.jobs.find(who) == []


def test_circles_are_refused_by_name(app: App, who: Account) -> None:
    circle = [
        shell("true", name="a", depends=(Dependency(-3),)),
        shell("true", name="b", depends=(Dependency(-1),)),
        shell("true", name="c", depends=(Dependency(-2),)),
    ]
    with pytest.raises(BadInput, match="the jobs wait for each other: a -> "):
        app.jobs.submit(circle, who)
    with pytest.raises(BadInput, match="wait for each other: x -> x"):
        app.jobs.submit([shell("true", name="x", depends=(Dependency(-1),))], who)


def test_a_chain_in_one_submission_runs_in_order(app: App, who: Account, tmp_path: Path) -> None:
    chain = [
        shell(f"echo c >> {tmp_path}/order", depends=(Dependency(-2),)),
        shell(f"echo b >> {tmp_path}/order", depends=(Dependency(-3),)),
        shell(f"sleep 0.1; echo a >> {tmp_path}/order"),
    ]
    jobs = app.jobs.submit(chain, who)
    assert [job.spec.depends for job in jobs] == [(Dependency(jobs[1].id),), (Dependency(jobs[2].id),), ()]
    ended(app, jobs[0], who)
    assert (tmp_path / "order").read_text() == "a\nb\nc\n"


def test_what_depends_on_a_failure_fails_along_the_chain(app: App, who: Account) -> None:
    first, second, third, anyway = app.jobs.submit(
        [
            shell("exit 1"),
            shell("true", depends=(Dependency(-1),)),
            shell("true", depends=(Dependency(-2),)),
            shell("true", depends=(Dependency(-1, Condition.AFTER_NOT_OK),)),
        ],
        who,
    )
    over = ended(app, third, who)
    assert (over.state, over.reason, over.attempt) == (JobState.FAILED, "DependencyNeverSatisfied", 0)
    assert (
        ended(app, second, who).message == f"afterok:{first.id} can no longer come true: that job ended as failed"
    )
    assert ended(app, anyway, who).state is JobState.SUCCEEDED
    why = app.jobs.why(third.id, who)
    assert why.verdict is Verdict.FAILED
    assert why.remedy == "correct the job it depends on, then submit both again"


def test_a_dependency_on_an_array_waits_for_all_of_it(app: App, who: Account, tmp_path: Path) -> None:
    array = app.jobs.submit([shell(f"echo $SLURM_ARRAY_TASK_ID >> {tmp_path}/out", array=(1, 2, 3))], who)
    after = submit(app, who, f"echo done >> {tmp_path}/out", depends=(Dependency(array[0].id),))
    ended(app, after, who)
    lines = (tmp_path / "out").read_text().split()
    assert (sorted(lines[:3]), lines[3:]) == (["1", "2", "3"], ["done"])


def test_arrays_are_named_limited_and_cancelled_as_one(app: App, who: Account) -> None:
    jobs = app.jobs.submit([shell("sleep 600", name="sweep", array=(3, 5, 8), array_limit=1)], who)
    head = jobs[0].id
    assert [job.label for job in jobs] == [f"{head}_3", f"{head}_5", f"{head}_8"]
    runs(app, jobs[0], who)
    until(app, jobs[1], who, lambda job: job.reason == "ArrayTaskLimit")
    assert [job.id for job in app.jobs.resolve(f"{head}_5", who)] == [jobs[1].id]
    assert len(app.jobs.resolve(str(head), who)) == len(app.jobs.resolve("sweep", who)) == 3
    assert len(app.jobs.cancel([head], who)) == 3
    assert {ended(app, job, who).state for job in jobs} == {JobState.CANCELLED}


def test_unknown_labels_offer_near_names(app: App, who: Account) -> None:
    submit(app, who, "true", name="pretrain")
    for label in ("pretrian", "12345", "9_9", "9_x", "9_", "x_9", "", "9" * 40):
        with pytest.raises(NotFound, match=f'no job "{label}"'):
            app.jobs.resolve(label, who)
    with pytest.raises(NotFound, match="pretrain"):
        app.jobs.resolve("pretrian", who)


def test_retries_back_off_and_then_give_up(app: App, who: Account) -> None:
    job = submit(app, who, "exit 1", retries=1)
    waiting = until(app, job, who, lambda now: now.reason == "BeginTime")
    assert waiting.not_before is not None
    assert waiting.failures == 1
    over = ended(app, job, who)
    assert (over.state, over.attempt, over.failures) == (JobState.FAILED, 2, 2)
    assert app.jobs.logs(job.id, who, attempt=1) == b""


def test_a_job_that_succeeds_at_the_second_try(app: App, who: Account) -> None:
    job = submit(app, who, 'echo "try $STOKER_ATTEMPT"; test $STOKER_ATTEMPT = 2', retries=3)
    over = ended(app, job, who)
    assert (over.state, over.attempt, over.exit_code) == (JobState.SUCCEEDED, 2, 0)
    assert app.jobs.logs(job.id, who, attempt=1) == b"try 1\n"
    assert app.jobs.logs(job.id, who) == b"try 2\n"


def test_an_idempotency_key_stores_once(app: App, who: Account) -> None:
    specs = [shell("true", array=(1, 2))]
    first = app.jobs.submit(specs, who, idempotency="k")
    assert [job.id for job in app.jobs.submit(specs, who, idempotency="k")] == [job.id for job in first]
    with pytest.raises(Conflict, match='"k" was used for another submission'):
        app.jobs.submit([shell("false")], who, idempotency="k")
    other = user(app, who, "bob", "vision")
    assert app.jobs.submit(specs, other, idempotency="k")[0].id not in {job.id for job in first}


def test_tenants_do_not_see_each_other(app: App, who: Account) -> None:
    ann, bob = user(app, who, "ann", "speech"), user(app, who, "bob", "vision")
    job = submit(app, ann, "sleep 600", name="private")
    for call in (
        lambda: app.jobs.get(job.id, bob),
        lambda: app.jobs.resolve("private", bob),
        lambda: app.jobs.resolve(str(job.id), bob),
        lambda: app.jobs.cancel([job.id], bob),
        lambda: app.jobs.logs(job.id, bob),
        lambda: app.jobs.events(job.id, bob),
        lambda: app.jobs.telemetry(job.id, bob),
        lambda: app.jobs.why(job.id, bob),
    ):
        with pytest.raises(NotFound) as error:
            call()
        assert "private" not in str(error.value).replace('no job "private"', "")
    with pytest.raises(BadInput, match="does not exist"):
        submit(app, bob, "true", depends=(Dependency(job.id),))
    assert app.jobs.find(bob) == []
    assert app.jobs.counts(bob) == {}
    assert [each.id for each in app.jobs.find(who)] == [job.id]


def test_viewers_read_only(app: App, who: Account) -> None:
    job = submit(app, who, "true")
    viewer = user(app, who, "vic", who.tenant, Role.VIEWER)
    assert app.jobs.get(job.id, viewer).id == job.id
    with pytest.raises(Denied, match="user is needed to submit jobs"):
        submit(app, viewer, "true")
    with pytest.raises(Denied, match="user is needed to cancel jobs"):
        app.jobs.cancel([job.id], viewer)


def test_find_pages_newest_first(app: App, who: Account) -> None:
    jobs = app.jobs.submit([shell("true", name=name) for name in "abcde"], who)
    page = app.jobs.find(who, limit=2)
    assert [job.id for job in page] == [jobs[4].id, jobs[3].id]
    assert [job.id for job in app.jobs.find(who, limit=2, before=page[-1].id)] == [jobs[2].id, jobs[1].id]
    assert [job.spec.name for job in app.jobs.find(who, name="b")] == ["b"]
    for job in jobs:
        ended(app, job, who)
    assert app.jobs.counts(who) == {JobState.SUCCEEDED: 5}
    assert len(app.jobs.find(who, states=(JobState.SUCCEEDED,))) == 5


def test_telemetry_comes_from_the_probe(app: App, who: Account) -> None:
    text = "import stoker.probe as p; p.report(step=5, total=10, loss=1.5)"
    job = app.jobs.submit([JobSpec(command=(_python(), "-c", text))], who)[0]
    ended(app, job, who)
    told = app.jobs.telemetry(job.id, who)
    assert (told.step, told.share_done, told.values["loss"]) == (5, 0.5, 1.5)


def _python() -> str:
    import sys

    return sys.executable


def test_why_of_a_failure_shows_the_end_of_the_log(app: App, who: Account) -> None:
    job = submit(app, who, "seq 20000; echo boom >&2; exit 9")
    ended(app, job, who)
    why = app.jobs.why(job.id, who)
    assert why.verdict is Verdict.FAILED
    assert why.evidence[0] == "NonZeroExitCode: exit code 9"
    assert why.evidence[-2:] == ("20000", "boom")


def test_the_start_is_quick_and_an_idle_platform_sleeps(app: App, who: Account) -> None:
    """No time is asserted: an idle dispatcher has nothing due at all."""
    ended(app, submit(app, who, "true"), who)
    time.sleep(0.1)
    assert app.dispatcher.tick() is None
