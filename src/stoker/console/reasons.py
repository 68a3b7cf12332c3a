"""Why a job failed, in the reader's language.

`stoker.why` speaks English. For other languages its reason word is said in theirs, its remedy too, and its own
sentences stay below as evidence: nothing that was found out is lost.
"""

from __future__ import annotations

import dataclasses

from stoker.console.texts import DEFAULT, Say
from stoker.finding import Finding
from stoker.job import Job


def in_language(finding: Finding, job: Job, say: Say) -> Finding:
    """The `finding` on `job` as a reader of `say`'s language understands it."""
    if say.language == DEFAULT or not say.knows("reason", job.reason):
        return finding
    remedy = say.word("remedy", job.reason) if say.knows("remedy", job.reason) else finding.remedy
    evidence = (finding.claim, *finding.evidence)
    return dataclasses.replace(finding, claim=_claim(job, say), evidence=evidence, remedy=remedy)


def _claim(job: Job, say: Say) -> str:
    return say("why.ended", state=say(f"job_state.{job.state}"), reason=say.word("reason", job.reason))
