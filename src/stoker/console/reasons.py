"""Why a job waits or failed, in the reader's language.

`stoker.why` speaks English. For other languages its reason word is said in theirs, its remedy too, and its own
sentences stay below as evidence: nothing that was found out is lost.
"""

from __future__ import annotations

import dataclasses

from stoker.console import figures
from stoker.console.texts import DEFAULT, Say
from stoker.finding import Finding
from stoker.job import Job, JobState


def in_language(finding: Finding, job: Job, say: Say, now: float) -> Finding:
    """The `finding` on `job` as a reader of `say`'s language understands it."""
    if say.language == DEFAULT or not say.knows("reason", job.reason):
        return finding
    remedy = say.word("remedy", job.reason) if say.knows("remedy", job.reason) else finding.remedy
    evidence = (finding.claim, *finding.evidence)
    return dataclasses.replace(finding, claim=_claim(job, say, now), evidence=evidence, remedy=remedy)


def _claim(job: Job, say: Say, now: float) -> str:
    reason = say.word("reason", job.reason)
    if job.state is JobState.PENDING:
        return say("why.waiting", span=figures.duration(now - job.submitted_at, say.language), reason=reason)
    return say("why.ended", state=say(f"job_state.{job.state}"), reason=reason)
