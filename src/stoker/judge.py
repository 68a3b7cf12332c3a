"""Expectation x measurement -> Finding: the only place where a number becomes a verdict."""

from __future__ import annotations

from stoker.expectation import Expectation
from stoker.finding import Finding, Verdict

FAILED_BELOW = 0.5  # of the expected low bound: half of what is due is broken rather than slow


def judge(
    expected: Expectation, measured: float | None, *, subject: str, remedy: str, higher_is_better: bool = True
) -> Finding:
    """Hold `measured` (in the expectation's unit) against `expected`; None was not measured: unknown."""
    if measured is None:
        return Finding(subject, Verdict.UNKNOWN, f"{expected.name} was not measured")
    share = measured / expected.value if expected.value else 0.0
    claim = f"{expected.name} {measured:,.4g} {expected.unit}, expected {expected.value:,.4g}: {share:.0%}"
    verdict = _verdict(expected, measured, higher_is_better)
    if verdict is Verdict.OK:
        return Finding(subject, verdict, claim)
    evidence = (f"expected {expected.low:,.4g} to {expected.high:,.4g} {expected.unit}", expected.basis)
    return Finding(subject, verdict, claim, evidence, remedy)


def more_is_better(name: str) -> bool:
    """Whether a value of that name should be large: rates and shares; a loss and seconds should be small."""
    return "loss" not in name and (name.endswith("_per_s") or not name.endswith("_s"))


def _verdict(expected: Expectation, measured: float, higher_is_better: bool) -> Verdict:
    if higher_is_better:
        if measured >= expected.low:
            return Verdict.OK
        return Verdict.FAILED if measured < FAILED_BELOW * expected.low else Verdict.DEGRADED
    if measured <= expected.high:
        return Verdict.OK
    return Verdict.FAILED if measured > expected.high / FAILED_BELOW else Verdict.DEGRADED
