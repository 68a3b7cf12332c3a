"""Following a job to its end, and the exit code that this ends with."""

from __future__ import annotations

import sys

from stoker.cli.measured import measured
from stoker.cli.render import note
from stoker.cli.texts import t, word
from stoker.client import Client
from stoker.job import Job, JobState
from stoker.units import format_duration

# Where the job has no exit code of its own: as timeout(1) and the shell after a signal have it.
_CODES = {JobState.TIMEOUT: 124, JobState.CANCELLED: 130, JobState.OUT_OF_MEMORY: 137}
_CODES |= {JobState.NODE_FAIL: 3, JobState.PREEMPTED: 3}


def exit_code(job: Job) -> int:
    """The job's exit code; never 0 when it did not succeed, whatever its last process said."""
    if job.state is JobState.SUCCEEDED:
        return 0
    if job.state is JobState.FAILED and job.exit_code is not None and job.exit_code > 0:
        return job.exit_code
    return _CODES.get(job.state, 1)


def follow(client: Client, job: Job, *, stream: str = "stdout") -> Job:
    """Print what `job` writes until it has ended; a note says how. Ctrl-C leaves the job running."""
    try:
        for piece in client.jobs.follow(job.id, stream=stream):
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
        (ended,) = client.jobs.wait(job.id)
    except KeyboardInterrupt:
        note(t("job {label} goes on; again: stoker logs -f {label}, stop: stoker cancel {label}", label=job.label))
        raise
    for name, text in measured(client.jobs.telemetry(ended.id)):
        note(f"{name}: {text}")
    if ended.state is not JobState.SUCCEEDED:
        note(how_it_ended(ended))
    return ended


def how_it_ended(job: Job) -> str:
    """One line: state, time, reason."""
    ran = ""
    if job.started_at is not None and job.ended_at is not None:
        ran = t(" after {time}", time=format_duration(job.ended_at - job.started_at))
    code = t(", exit code {code}", code=job.exit_code) if job.exit_code else ""
    message = f": {job.message}" if job.message and job.message != f"exit code {job.exit_code}" else ""
    state = word(job.state.value)
    return t("job {label} {state}{ran}{code}", label=job.label, state=state, ran=ran, code=code) + message
