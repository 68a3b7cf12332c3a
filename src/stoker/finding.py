"""Finding: a verdict on a subject, with its evidence and remedy."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from stoker.explanation import Explanation


class Verdict(StrEnum):
    OK = "ok"
    DEGRADED = "degraded"
    FAILED = "failed"
    UNKNOWN = "unknown"  # not measured, or not measurable: never ok


@dataclass(frozen=True)
class Finding:
    """One claim about one thing. A bad verdict without evidence and remedy cannot be built."""

    subject: str
    verdict: Verdict
    claim: str
    evidence: tuple[str, ...] = ()
    remedy: str = ""
    waiting: Explanation | None = None  # of a job that waits: all of it as codes and values

    def __post_init__(self) -> None:
        bad = self.verdict in (Verdict.DEGRADED, Verdict.FAILED)
        if bad and not (self.evidence and self.remedy):
            raise ValueError(f"{self.subject}: a {self.verdict} finding needs evidence and a remedy")
