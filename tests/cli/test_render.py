"""Columns that stand below each other, whatever is in them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stoker.cli import squeue
from stoker.cli.render import clean, columns, facts, width
from stoker.job import Job, JobSpec, JobState, Placement


@given(st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8), st.just("|")), max_size=5))
def test_the_last_column_begins_at_one_place(rows: list[tuple[str, str, str]]) -> None:
    lines = columns(("NAME", "名称", "|"), rows).split("\n")
    assert len(lines) == len(rows) + 1
    assert len({width(line[:-1]) for line in lines}) == 1
    assert all(line.endswith("|") for line in lines)


@given(st.text())
def test_nothing_that_is_printed_steers_a_terminal(text: str) -> None:
    assert clean(text).isprintable()
    assert clean(clean(text)) == clean(text)


def test_numbers_stand_to_the_right() -> None:
    assert columns(("A", "N"), [("x", "1"), ("yy", "100")], right=("N",)) == "A     N\nx     1\nyy  100"


def test_facts_without_a_value_are_left_out() -> None:
    assert facts([("name", "a"), ("empty", ""), ("节点", "vm")]) == "name  a\n节点  vm"


def job(
    number: int, index: int | None = None, state: JobState = JobState.PENDING, reason: str = "Resources"
) -> Job:
    array = None if index is None else 10
    return Job(
        number, JobSpec(name="j", command=("true",)), "default", "ann", state, 100.0,
        started_at=None if state is JobState.PENDING else 130.0, reason=reason,
        placements=() if state is JobState.PENDING else (Placement("gpu-01"), Placement("gpu-02")),
        array_id=array, array_index=index,
    )  # fmt: skip


def test_waiting_elements_of_an_array_share_a_row() -> None:
    listed = [job(15, 5), job(14, 4), job(13, 3, reason="Dependency"), job(12, 2), job(11, 1, JobState.RUNNING, "")]
    labels = [(row[0], row[6]) for row in squeue.rows(listed, 200.0)]
    assert labels == [
        ("10_[4-5]", "(Resources)"),
        ("10_3", "(Dependency)"),
        ("10_2", "(Resources)"),
        ("10_1", "gpu-01,gpu-02"),
    ]


def test_time_is_what_it_ran() -> None:
    [row] = squeue.rows([job(1, state=JobState.RUNNING, reason="")], 130.0 + 3661)
    assert row[4] == "1:01:01"
    [row] = squeue.rows([job(1)], 500.0)
    assert row[4] == "0:00"


def test_a_failed_job_tells_the_reason_where_it_ran() -> None:
    [row] = squeue.rows([job(1, state=JobState.FAILED, reason="NonZeroExitCode")], 500.0)
    assert row[6] == "(NonZeroExitCode)"
