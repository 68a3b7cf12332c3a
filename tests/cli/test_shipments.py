"""How a shipment reads. The results are those of real recipes, recorded from a shipment of the example."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from stoker.cli import texts
from stoker.cli.shipments import bar, stage_lines, summary
from stoker.expectation import Expectation
from stoker.shipment import Stage, StageRun, StageState
from stoker.signal import Sample, Signal
from stoker.telemetry import Phase, Telemetry

RESULTS: list[tuple[Stage, dict[str, Any], str]] = [
    (
        Stage.IMPORT,
        {"records": 41_200, "kept": 38_911, "rejected": {"empty": {"count": 1204}, "no_answer": {"count": 1085}}},
        "41,200 records   38,911 kept   1,204 empty, 1,085 no answer",
    ),
    (
        Stage.CURATE,
        {
            "input": 513,
            "kept": 500,
            "heldout": 114,
            "dropped": {"near_duplicate": {"count": 13}},
            "masked_records": 2,
        },
        "513 → 500   114 held out   13 near duplicate   personal data masked in 2",
    ),
    (
        Stage.TRAIN,
        {
            "method": "lora",
            "steps": 4,
            "final_loss": 2.57246,
            "tokens_per_s": 115.3,
            "expected_tokens_per_s": 230.6,
        },
        "lora   4 steps   loss 2.57   115 tok/s (50%)",
    ),
    (
        Stage.TRAIN,
        {"steps": 4, "tokens_per_s": 50, "expected_tokens_per_s": 100, "cpu_share": 0.52},
        "4 steps   50 tok/s (50%)   others had the CPU 48% of the time it was wanted; of what is left it makes 96%",
    ),
    (
        Stage.EVALUATE,
        {"metric": "exact_match", "base": {"loss": 4.3086, "score": 0.0}, "new": {"loss": 2.4424, "score": 0.718}},
        "exact match   base 0.0%   new 71.8%   loss 4.31 → 2.44",
    ),
    (
        Stage.EVALUATE,
        {"metric": "exact_match", "base": {"loss": 4.3, "score": None}, "new": {"loss": 2.4, "score": None}},
        "loss 4.3 → 2.4",
    ),
    (Stage.EXPORT, {"engine": "llama.cpp", "type": "f16", "size": 270_885_952}, "llama.cpp f16   258.3 MiB"),
    (Stage.REGISTER, {"version": 3, "parent": 2}, "version 3 (parent 2)"),
    (Stage.REGISTER, {"version": 1, "parent": None}, "version 1"),
    (Stage.DEPLOY, {"version": 1}, "ready"),
    (
        Stage.VERIFY,
        {"probes": 48, "equal": 46, "agreeing": 48, "mean_kl": 2.899e-06},
        "48 of 48 probe answers agree with the trained model   KL 2.9e-06",
    ),
    (
        Stage.PROMOTE,
        {"alias": "champion", "version": 3, "previous": 2},
        "version 3 is champion   before: version 2",
    ),
    (Stage.PROMOTE, {"alias": "champion", "version": 1, "previous": None}, "version 1 is champion"),
]


@pytest.mark.parametrize(("stage", "result", "line"), RESULTS)
def test_what_a_finished_stage_found(stage: Stage, result: dict[str, Any], line: str) -> None:
    assert summary(stage, result) == line


@pytest.mark.parametrize("stage", list(Stage))
@pytest.mark.parametrize("result", [{}, {"rejected": 3, "dropped": [], "base": 1, "size": "x", "probes": None}])
def test_a_foreign_result_is_no_error(stage: Stage, result: dict[str, Any]) -> None:
    summary(stage, result)


def test_a_finished_stage_says_how_long_it_took_or_that_it_was_there() -> None:
    done = StageRun(Stage.REGISTER, StageState.DONE, started_at=100.0, ended_at=162.0, result={"version": 1})
    assert stage_lines(done, 500.0) == [" register   version 1    1 min 2 s"]
    reused = StageRun(Stage.REGISTER, StageState.REUSED, result={"version": 1})
    assert stage_lines(reused, 500.0) == [" register   version 1    was there already"]


def training(step: int) -> Telemetry:
    samples = tuple(Sample(100.0 + 2 * number, 1.21, number) for number in range(1, step + 1))
    return Telemetry(
        step,
        984,
        {"loss": 1.2149, "tokens_per_s": 9840.0},
        {"loss": Signal("loss", "", "job/1", samples)},
        {"tokens_per_s": Expectation("tokens_per_s", 11_300, 10_000, 12_000, "/s", "arithmetic")},
    )


def test_a_running_stage_shows_progress_and_expected_beside_measured() -> None:
    run = StageRun(Stage.TRAIN, StageState.RUNNING, started_at=50.0)
    first, second = stage_lines(run, 1300.0, training(610))
    assert first == f" train      {bar(610 / 984)}  62%   step 610/984   loss 1.21   9,840 tok/s"
    assert second.strip() == "expected 11,300 tok/s: 87%   about 12 min 28 s left"
    assert second.index("expected") == first.index("█")


def test_what_others_take_of_the_cpu_is_said_with_what_is_left_to_explain() -> None:
    run = StageRun(Stage.TRAIN, StageState.RUNNING, started_at=50.0)
    busy = replace(training(610), values={"tokens_per_s": 5650.0, "cpu_share": 0.5})
    _, below = stage_lines(run, 1300.0, busy)
    assert "expected 11,300 tok/s: 50%   others had the CPU 50% of the time it was wanted" in below
    assert "of what is left it makes 100%" in below
    quiet = replace(training(610), values={"tokens_per_s": 5650.0, "cpu_share": 0.97})
    assert "others" not in stage_lines(run, 1300.0, quiet)[1]


def test_before_the_first_step_a_stage_says_what_it_does_or_waits_for() -> None:
    run = StageRun(Stage.TRAIN, StageState.RUNNING, started_at=50.0)
    assert stage_lines(run, 55.0) == [" train      starting    5 s"]
    assert stage_lines(run, 55.0, waits="Resources") == [" train      waits: Resources    5 s"]
    loading = Telemetry(phases=(Phase(51.0, "load", "134 M parameters\x1b[2J"),))
    [line] = stage_lines(run, 55.0, loading)
    assert line == " train      134 M parameters\N{REPLACEMENT CHARACTER}[2J    5 s"


def test_the_bar_has_one_length() -> None:
    assert {len(bar(share / 997)) for share in range(998)} == {20}
    assert bar(0).strip() == ""
    assert bar(1) == "█" * 20
    assert bar(0.5).rstrip() == "█" * 10


def test_in_chinese() -> None:
    texts.use("zh")
    assert summary(*RESULTS[0][:2]) == "41,200 条记录   保留 38,911 条   1,204 空记录, 1,085 没有回答"
    assert summary(*RESULTS[4][:2]).startswith("完全匹配   基座 0.0%   新模型 71.8%")
