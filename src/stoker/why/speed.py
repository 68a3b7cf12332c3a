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
from stoker.units import format_duration

RECENT = 20  # samples at the end that say how fast it is now; one alone may be a checkpoint or a neighbour's burst
SILENT = 10.0  # times its usual step without a sign: it hangs rather than is slow
SILENT_AT_LEAST_S = 120.0
TAKEN = 0.9  # of the CPU it wanted; with less, others are part of the answer
SLOWED = 0.75  # of what it did in its first steps

_WORST_FIRST = (Verdict.FAILED, Verdict.DEGRADED, Verdict.UNKNOWN, Verdict.OK)


@dataclass(frozen=True)
class _Gap:
    """A part of the answer: what was seen, and what helps against it."""

    seen: str
    remedy: str


def running(subject: str, state: str, telemetry: Telemetry, *, started_at: float | None, now: float) -> Finding:
    """Whether a job that runs is as fast as it expects of itself. Not measured is unknown, whatever it does."""
    since = f"{state} since {format_duration(now - started_at)}" if started_at else str(state)
    if hangs := _silence(telemetry, now):
        return Finding(subject, Verdict.FAILED, f"{since}, but {hangs.seen}", (hangs.seen,), hangs.remedy)
    found = [_judged(subject, telemetry, expected) for expected in telemetry.expectations.values()]
    found = [one for one in found if one.verdict is not Verdict.UNKNOWN]
    if not found:
        return Finding(subject, Verdict.UNKNOWN, f"{since}; whether it is fast enough was not measured")
    worst = min(found, key=lambda one: _WORST_FIRST.index(one.verdict))
    if worst.verdict is Verdict.OK:
        return Finding(subject, Verdict.OK, f"{since}; {worst.claim}")
    return Finding(
        subject, worst.verdict, f"{since}, slower than it should be: {worst.claim}", worst.evidence, worst.remedy
    )


def _judged(subject: str, telemetry: Telemetry, expected: Expectation) -> Finding:
    samples = telemetry.signals[expected.name].samples if expected.name in telemetry.signals else ()
    measured = median(one.value for one in samples[-RECENT:]) if samples else None
    higher = more_is_better(expected.name)
    found = judge(expected, measured, subject=subject, remedy="?", higher_is_better=higher)
    if measured is None or found.verdict is Verdict.OK:
        return found
    gaps = [gap for gap in (_neighbours(telemetry, expected, measured), _slowed(samples, higher)) if gap]
    remedy = gaps[0].remedy if gaps else _UNEXPLAINED
    return Finding(subject, found.verdict, found.claim, (*(gap.seen for gap in gaps), *found.evidence), remedy)


_UNEXPLAINED = (
    "nothing that was measured explains it: compare its batch, layout and data loading with what it "
    "expected, and its node with others of the kind"
)


def _silence(telemetry: Telemetry, now: float) -> _Gap | None:
    """A job that told of steps and tells no more: a rank hangs, or it waits for data or a disk."""
    stamps = sorted(
        {one.at for signal in telemetry.signals.values() for one in signal.samples if one.step is not None}
    )
    if len(stamps) < 3 or _at_the_end(telemetry):
        return None
    usual = median(later - earlier for earlier, later in pairwise(stamps))
    silent = now - stamps[-1]
    if silent < max(SILENT_AT_LEAST_S, SILENT * usual) or (
        telemetry.phases and telemetry.phases[-1].at > stamps[-1]
    ):
        return None
    return _Gap(
        f"it has made no step for {format_duration(silent)}, and one took {format_duration(usual)}",
        "look at the end of its log and at its nodes: a rank that hangs, a disk or network that does not answer; "
        "cancel it and let it go on from its last checkpoint",
    )


def _at_the_end(telemetry: Telemetry) -> bool:
    return telemetry.step is not None and telemetry.total is not None and telemetry.step >= telemetry.total


def _neighbours(telemetry: Telemetry, expected: Expectation, measured: float) -> _Gap | None:
    """Others on the machine had the CPU. What remains of the gap without them says whether they are all of it."""
    shares = telemetry.signals["cpu_share"].samples[-RECENT:] if "cpu_share" in telemetry.signals else ()
    got = median(one.value for one in shares) if shares else 1.0
    if not 0.0 < got <= TAKEN or not more_is_better(expected.name):
        return None
    alone = measured / got
    rest = "which is as expected" if alone >= expected.low else "which leaves a part unexplained"
    return _Gap(
        f"others had the CPU {1 - got:.0%} of the time it was wanted; with all of it, it would make about "
        f"{alone:,.4g} {expected.unit}, {alone / expected.value:.0%} of what is expected, {rest}",
        "run less beside it: more CPUs for this job (--cpus), fewer for others, or another node",
    )


def _slowed(samples: Sequence[Sample], higher: bool) -> _Gap | None:
    """It was faster when it began: the machine changed, not the job."""
    if len(samples) < 2 * RECENT:
        return None
    early = median(one.value for one in samples[1 : RECENT + 1])  # the first step warms up
    late = median(one.value for one in samples[-RECENT:])
    if not early or not late or (late / early if higher else early / late) > SLOWED:
        return None
    return _Gap(
        f"it was {early:,.4g} in its first steps and is {late:,.4g} now",
        "see who came to its nodes meanwhile (stoker nodes), and whether clocks or temperatures changed",
    )
