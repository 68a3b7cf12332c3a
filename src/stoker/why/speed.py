"""Why a running job is slow: what it measures of itself against what it expects, and what explains the gap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from stoker.expectation import Expectation
from stoker.finding import Finding, Verdict
from stoker.judge import judge, more_is_better
from stoker.signal import Sample
from stoker.telemetry import Telemetry
from stoker.why.words import Words

RECENT = 20  # samples at the end that say how fast it is now; one alone may be a checkpoint or a neighbour's burst
SILENT = 10.0  # times its usual step without a sign: it hangs rather than is slow
SILENT_AT_LEAST_S = 120.0
TAKEN = 0.9  # of the CPU it wanted; with less, others are part of the answer
SLOWED = 0.75  # of what it did in its first steps

_WORST_FIRST = (Verdict.FAILED, Verdict.DEGRADED, Verdict.OK)


@dataclass(frozen=True)
class _Gap:
    """A part of the answer: what was seen, and what helps against it."""

    seen: str
    remedy: str


def running(
    say: Words, subject: str, state: str, telemetry: Telemetry, *, started_at: float | None, now: float
) -> Finding:
    """Whether a job that runs is as fast as it expects of itself. Not measured is unknown, whatever it does."""
    since = say(state, span=say.span(now - started_at if started_at else 0.0))
    if hangs := _silence(say, telemetry, now):
        claim = say("hangs", since=since, seen=hangs.seen)
        return Finding(subject, Verdict.FAILED, claim, (hangs.seen,), hangs.remedy)
    found = [
        _judged(say, subject, since, telemetry, expected, telemetry.signals[name].samples)
        for name, expected in telemetry.expectations.items()
        if expected.value and name in telemetry.signals
    ]
    if not found:
        return Finding(subject, Verdict.UNKNOWN, say("unmeasured", since=since))
    return min(found, key=lambda one: _WORST_FIRST.index(one.verdict))


def _judged(
    say: Words,
    subject: str,
    since: str,
    telemetry: Telemetry,
    expected: Expectation,
    samples: Sequence[Sample],
) -> Finding:
    value, higher = median(one.value for one in samples[-RECENT:]), more_is_better(expected.name)
    verdict = judge(expected, value, subject=subject, remedy="stoker why", higher_is_better=higher).verdict
    measured = say(
        "measured",
        name=say.metric(expected.name),
        value=amount(value, expected.unit),
        due=amount(expected.value, expected.unit),
        share=f"{value / expected.value:.0%}",
    )
    if verdict is Verdict.OK:
        return Finding(subject, verdict, say("well", since=since, measured=measured))
    told = (_neighbours(say, telemetry, expected, value), _slowed(say, expected.unit, samples, higher))
    gaps = [gap for gap in told if gap]
    bounds = say("bounds", low=_bare(expected.low, expected.unit), high=amount(expected.high, expected.unit))
    evidence = (*(gap.seen for gap in gaps), bounds, expected.basis)
    remedy = gaps[0].remedy if gaps else say("unexplained")
    return Finding(subject, verdict, say("slow", since=since, measured=measured), evidence, remedy)


def amount(value: float, unit: str) -> str:
    """A measured value for people: ``11,300 tokens/s``, ``1.213 s``, a share as ``39.4%``."""
    if unit == "share":
        return f"{value:.1%}"
    number = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{number} {unit}".rstrip()


def _bare(value: float, unit: str) -> str:
    """`amount` where the unit stands beside it already."""
    return amount(value, unit).removesuffix(f" {unit}")


def _silence(say: Words, telemetry: Telemetry, now: float) -> _Gap | None:
    """A job that told of steps and tells no more: a rank hangs, or it waits for data or a disk."""
    stamps = sorted(
        {one.at for signal in telemetry.signals.values() for one in signal.samples if one.step is not None}
    )
    if len(stamps) < 3 or _at_the_end(telemetry):
        return None
    usual = median(later - earlier for earlier, later in pairwise(stamps))
    silent = now - stamps[-1]
    elsewhere = bool(telemetry.phases) and telemetry.phases[-1].at > stamps[-1]
    if elsewhere or silent < max(SILENT_AT_LEAST_S, SILENT * usual):
        return None
    return _Gap(say("silent", span=say.span(silent), usual=say.span(usual)), say("silent.remedy"))


def _at_the_end(telemetry: Telemetry) -> bool:
    return telemetry.step is not None and telemetry.total is not None and telemetry.step >= telemetry.total


def _neighbours(say: Words, telemetry: Telemetry, expected: Expectation, measured: float) -> _Gap | None:
    """Others on the machine had the CPU. What remains of the gap without them says whether they are all of it."""
    shares = telemetry.signals["cpu_share"].samples[-RECENT:] if "cpu_share" in telemetry.signals else ()
    got = median(one.value for one in shares) if shares else 1.0
    if not 0.0 < got <= TAKEN or not more_is_better(expected.name):
        return None
    alone = measured / got
    seen = say(
        "taken",
        others=f"{1 - got:.0%}",
        alone=amount(alone, expected.unit),
        share=f"{alone / expected.value:.0%}",
        rest=say("taken.all" if alone >= expected.low else "taken.part"),
    )
    return _Gap(seen, say("taken.remedy"))


def _slowed(say: Words, unit: str, samples: Sequence[Sample], higher: bool) -> _Gap | None:
    """It was faster when it began: the machine changed, not the job."""
    if len(samples) < 2 * RECENT:
        return None
    early = median(one.value for one in samples[1 : RECENT + 1])  # the first step warms up
    late = median(one.value for one in samples[-RECENT:])
    if not early or not late or (late / early if higher else early / late) > SLOWED:
        return None
    return _Gap(say("slowed", early=amount(early, unit), late=_bare(late, unit)), say("slowed.remedy"))
