"""Why a job waits, and how it ended."""

from __future__ import annotations

import pytest

from stoker.finding import Finding, Verdict
from stoker.job import Job, JobSpec, JobState, Placement
from stoker.telemetry import Telemetry
from stoker.why import explain


def job(state: JobState, number: int = 7, **fields: object) -> Job:
    spec = JobSpec(name="train", command=("x",))
    return Job(number, spec, "t", "o", state, 100.0, **fields)  # type: ignore[arg-type]


def why(one: Job, tail: bytes = b"", error: str = "", loses: tuple[str, float] | None = None) -> Finding:
    return explain(one, tail=tail, telemetry=Telemetry(error=error), now=400.0, loses=loses)


def test_a_running_job_is_not_called_fine() -> None:
    found = why(job(JobState.RUNNING, started_at=390.0))
    assert (found.verdict, found.claim) == (
        Verdict.UNKNOWN,
        "running since 10 s; whether it is fast enough was not measured",
    )


@pytest.mark.parametrize("state", [state for state in JobState if state.final])
def test_every_end_has_a_finding(state: JobState) -> None:
    found = why(job(state, started_at=100.0, ended_at=160.0, reason="R", message="m"), tail=b"last words\n")
    good = state in (JobState.SUCCEEDED, JobState.CANCELLED)
    assert found.verdict is (Verdict.OK if good else Verdict.FAILED)
    assert "1 min" in found.claim
    assert good or (found.remedy and found.evidence[-1] == "last words")


def test_what_the_job_said_itself_comes_first() -> None:
    failed = job(JobState.FAILED, started_at=1.0, ended_at=2.0, reason="NonZeroExitCode", message="exit code 2")
    assert why(failed, error="column 'text' is missing").claim == "failed after 1 s: column 'text' is missing"


def test_only_the_end_of_the_log_is_shown() -> None:
    failed = job(JobState.FAILED, reason="NonZeroExitCode", message="exit code 1")
    tail = "\n".join(map(str, range(100))).encode() + b"\nbroken \xff utf-8"
    assert why(failed, tail=tail).evidence[1:] == (*map(str, range(93, 100)), "broken \ufffd utf-8")


def test_a_failed_stage_goes_on_with_its_shipment() -> None:
    """Nobody can submit the job of a stage."""
    failed = job(JobState.FAILED, reason="NonZeroExitCode", message="killed by SIGKILL", ship="ship-1")
    assert why(failed).remedy == (
        "read its log, correct the cause and go on where it stopped: stoker ship --resume ship-1"
    )


def at_engine(reason: str, message: str = "") -> Job:
    held = (Placement("gpu3", (0, 1)),)
    return job(JobState.STARTING, engine="hpc", attempt=2, placements=held, reason=reason, message=message)


def test_a_job_that_its_engine_keeps_waiting_says_why_in_the_engines_words() -> None:
    found = why(at_engine("QOSMaxGRESPerUser"))
    assert found.claim == "hpc keeps it waiting since 5 min: QOSMaxGRESPerUser"
    assert found.evidence == ("handed over to hpc for gpu3, attempt 2",)
    assert "quality of service" in found.remedy
    assert why(at_engine("SomethingNew", "as told")).claim.endswith("SomethingNew (as told)")


def test_a_job_on_an_engine_that_is_away_is_not_known() -> None:
    found = why(at_engine("EngineAway", "not known how it is: hpc connection refused; it last answered 2 min ago"))
    assert (found.verdict, found.claim[:9]) == (Verdict.UNKNOWN, "not known")
    assert "bring the engine back" in found.remedy
