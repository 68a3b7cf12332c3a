"""Why a running job is slow: measured against expected, and what explains the gap."""

from __future__ import annotations

import json
import string

import pytest

from stoker.finding import Verdict
from stoker.telemetry import Telemetry, read_telemetry
from stoker.why.speed import amount, running
from stoker.why.words import SENTENCES, Words

DUE = {
    "kind": "expect",
    "name": "tokens_per_s",
    "value": 300,
    "low": 200,
    "high": 360,
    "unit": "tokens/s",
    "basis": "b",
}


def told(*speeds: float, every_s: float = 2.0, total: int = 1000, **values: float) -> Telemetry:
    steps = [
        {"kind": "progress", "at": 100 + every_s * n, "step": n + 1, "total": total}
        | {"values": {"tokens_per_s": speed, **values}}
        for n, speed in enumerate(speeds)
    ]
    return read_telemetry([json.dumps(line).encode() for line in (DUE, *steps)], "job/7")


def found(telemetry: Telemetry, *, after_s: float = 1.0, language: str = "en"):  # type: ignore[no-untyped-def]
    last = max((s.at for signal in telemetry.signals.values() for s in signal.samples), default=100.0)
    return running(Words(language), "job/7", "running", telemetry, started_at=90.0, now=last + after_s)


def test_without_a_measurement_it_is_unknown_not_fine() -> None:
    assert found(Telemetry()).verdict is Verdict.UNKNOWN
    assert found(told()).verdict is Verdict.UNKNOWN


def test_as_fast_as_expected() -> None:
    one = found(told(310, 290, 305))
    assert (one.verdict, one.remedy) == (Verdict.OK, "")
    assert "throughput 305 tokens/s, expected 300 tokens/s: 102%" in one.claim


def test_one_slow_step_is_no_slow_job() -> None:
    assert found(told(300, 300, 300, 20)).verdict is Verdict.OK


@pytest.mark.parametrize(("speed", "verdict"), [(150, Verdict.DEGRADED), (60, Verdict.FAILED)])
def test_slower_than_expected_and_nothing_explains_it(speed: float, verdict: Verdict) -> None:
    one = found(told(*[speed] * 5))
    assert one.verdict is verdict
    assert "slower than it should be" in one.claim
    assert "expected 200 to 360 tokens/s" in one.evidence
    assert one.remedy.startswith("nothing that was measured explains it")


@pytest.mark.parametrize(("speed", "rest"), [(60, "as expected"), (30, "leaves a part unexplained")])
def test_neighbours_on_the_cpu_are_named_with_what_they_leave_unexplained(speed: float, rest: str) -> None:
    one = found(told(*[speed] * 5, cpu_share=0.25))
    assert one.evidence[0].startswith("others had the CPU 75% of the time it was wanted")
    assert one.evidence[0].endswith(rest)
    assert "another node" in one.remedy


def test_a_job_that_was_faster_when_it_began() -> None:
    one = found(told(*[300] * 30, *[120] * 30))
    assert one.evidence[0] == "it was 300 tokens/s in its first steps and is 120 now"
    assert "stoker nodes" in one.remedy


def test_a_job_without_steps_for_long_hangs() -> None:
    steady = told(*[300] * 5)
    assert found(steady, after_s=110).verdict is Verdict.OK
    one = found(steady, after_s=600)
    assert one.verdict is Verdict.FAILED
    assert "no step for 10 min, and one took 2 s" in one.claim
    # A step may take minutes; and after the last one, or in another phase, there are none to wait for.
    assert found(told(*[300] * 5, every_s=100), after_s=600).verdict is Verdict.OK
    assert found(told(*[300] * 5, total=5), after_s=600).verdict is Verdict.OK


def test_both_languages_say_the_same_values() -> None:
    for key, texts in SENTENCES.items():
        english, chinese = ({name for _, name, _, _ in string.Formatter().parse(one) if name} for one in texts)
        assert english == chinese, key
    one = found(told(*[30] * 5, cpu_share=0.25), language="zh")
    assert one.claim.startswith("已运行")
    assert one.evidence[0].endswith("仍有一部分未得到解释")
    assert "换一个节点" in one.remedy


@pytest.mark.parametrize(
    ("value", "unit", "told"),
    [
        (11_300.0, "tokens/s", "11,300 tokens/s"),
        (0.394, "share", "39.4%"),
        (1.2134, "s", "1.213 s"),
        (5.0, "", "5"),
    ],
)
def test_amounts_are_told_with_their_unit_and_without_powers_of_ten(value: float, unit: str, told: str) -> None:
    assert amount(value, unit) == told
