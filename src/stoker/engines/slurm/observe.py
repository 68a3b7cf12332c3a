"""What became of an order: from Slurm's word for it, and from what the wrapper wrote. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from stoker.engine import Observation
from stoker.errors import BadInput
from stoker.job import JobState
from stoker.typed import read

# Slurm's word -> our state, and the reason that is kept where Slurm gives no other.
_FINAL: Mapping[str, tuple[JobState, str]] = {
    "COMPLETED": (JobState.SUCCEEDED, ""),
    "FAILED": (JobState.FAILED, "NonZeroExitCode"),
    "CANCELLED": (JobState.CANCELLED, "Cancelled"),
    "REVOKED": (JobState.CANCELLED, "Revoked"),
    "TIMEOUT": (JobState.TIMEOUT, "TimeLimit"),
    "DEADLINE": (JobState.TIMEOUT, "Deadline"),
    "OUT_OF_MEMORY": (JobState.OUT_OF_MEMORY, "OutOfMemory"),
    "NODE_FAIL": (JobState.NODE_FAIL, "NodeFail"),
    "BOOT_FAIL": (JobState.NODE_FAIL, "BootFail"),
    "LAUNCH_FAILED": (JobState.NODE_FAIL, "LaunchFailed"),
    "PREEMPTED": (JobState.PREEMPTED, "Preempted"),
}
# Slurm has put it back into its own queue, though it was told not to: for us the attempt is over.
REQUEUED = frozenset(("REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT"))
_WAITING = frozenset(("PENDING", "CONFIGURING", "RESV_DEL_HOLD", "POWER_UP_NODE"))
_HALTED = {"SUSPENDED": "Suspended", "STOPPED": "Stopped"}
_TOLD = {
    JobState.NODE_FAIL: "Slurm lost a node under it",
    JobState.PREEMPTED: "Slurm gave its devices to a more important job",
    JobState.TIMEOUT: "Slurm ended it at its time limit",
    JobState.OUT_OF_MEMORY: "Slurm ended it: it used more memory than it asked for",
}


@dataclass(frozen=True)
class End:
    """What the wrapper wrote when the job had ended."""

    slurm: int
    why: str  # cancel, timeout: we ended it; slurm: Slurm did; empty: by itself
    code: int
    trouble: str
    started_at: float
    ended_at: float


def claim_of(text: bytes) -> int | None:
    """The Slurm job in a claim; None where there is none, or somebody has put something else in its place."""
    try:
        return int(json.loads(text)["slurm"]) if text else None
    except (ValueError, TypeError, KeyError):
        return None


def end_of(text: bytes) -> End | None:
    """What the wrapper wrote; None where it wrote nothing, or the job has put something else in its place."""
    try:
        return read(End, json.loads(text), what="end") if text else None
    except (ValueError, BadInput):
        return None


@dataclass(frozen=True)
class Word:
    """What Slurm says of one of its jobs, from the queue or from its books."""

    id: int
    state: str
    reason: str = ""
    started_at: float | None = None
    ended_at: float | None = None
    exit_code: int | None = None
    by: str = ""  # who cancelled it

    @property
    def final(self) -> bool:
        return self.state in _FINAL or self.state in REQUEUED

    @property
    def waits(self) -> bool:
        return self.state in _WAITING


def live(said: Word, *, cancelled: bool) -> Observation:
    """Of an order that has not ended."""
    if said.waits:
        state = JobState.STOPPING if cancelled else JobState.STARTING
        reason = "Configuring" if said.state == "CONFIGURING" else said.reason.partition(",")[0]
        return Observation(state, reason=reason, message=said.reason if "," in said.reason else "")
    stopping = cancelled or said.state == "COMPLETING"
    state = JobState.STOPPING if stopping else JobState.RUNNING
    return Observation(state, started_at=said.started_at, reason=_HALTED.get(said.state, ""))


def ended(end: End | None, said: Word | None, *, cancelled: bool, limit: float | None) -> Observation:
    """Of an order that has ended. The wrapper knows better how the program ended; Slurm knows what Slurm did to it.

    `cancelled`: we asked for it. `limit`: the job's time limit, seconds. At least one of both sources is there.
    """
    if end is not None and end.why in ("", "cancel", "timeout"):
        return _by_wrapper(end, said, limit)
    if said is None:
        assert end is not None  # one of both is there  # noqa: S101
        return _lost("Slurm ended it and no longer knows why", end, None)
    state, reason = _FINAL.get(said.state, (JobState.PREEMPTED, "Requeued"))
    if cancelled and state is not JobState.SUCCEEDED:
        state, reason = JobState.CANCELLED, ""
    elif end is not None and said.state in ("COMPLETED", "FAILED"):
        # Its processes were told to end by neither of us: the node was shut down under it.
        return _lost("it was told to end, by neither Stoker nor Slurm", end, said)
    code = said.exit_code if state in (JobState.SUCCEEDED, JobState.FAILED) else None
    kept = said.reason if said.reason not in ("", "None") and state is not JobState.CANCELLED else reason
    return Observation(
        state,
        started_at=end.started_at if end else said.started_at,
        ended_at=end.ended_at if end else said.ended_at,
        exit_code=code,
        reason=kept,
        message=_message(state, said, code, cancelled=cancelled),
    )


def lost(message: str, started_at: float | None, now: float) -> Observation:
    """Slurm knows nothing of a job that had begun, and nothing was written."""
    return Observation(JobState.NODE_FAIL, started_at=started_at, ended_at=now, reason="NodeFail", message=message)


def _by_wrapper(end: End, said: Word | None, limit: float | None) -> Observation:
    def seen(state: JobState, reason: str = "", message: str = "") -> Observation:
        return Observation(state, end.started_at, end.ended_at, end.code, reason, message)

    if end.why == "cancel":
        message = end.trouble if end.code == 127 and end.trouble else "cancelled"
        return seen(JobState.CANCELLED, message=message)
    if end.why == "timeout":
        message = f"reached its time limit of {limit or 0:g} s"
        return seen(JobState.TIMEOUT, "TimeLimit", message)
    if end.code == 0:
        return seen(JobState.SUCCEEDED)
    if said is not None and said.state in ("OUT_OF_MEMORY", "NODE_FAIL", "PREEMPTED", "TIMEOUT", "DEADLINE"):
        state, reason = _FINAL[said.state]
        return seen(state, reason, _TOLD[state])
    if said is not None and said.state == "CANCELLED" and end.code > 128:
        return seen(JobState.CANCELLED, "Cancelled", f"cancelled in Slurm by {said.by or 'somebody else'}")
    message = end.trouble or f"exit code {end.code}"
    return seen(JobState.FAILED, "NonZeroExitCode", message)


def _lost(message: str, end: End, said: Word | None) -> Observation:
    reason = "NodeShutdown" if said else "NodeFail"
    return Observation(
        JobState.NODE_FAIL, started_at=end.started_at, ended_at=end.ended_at, reason=reason, message=message
    )


def _message(state: JobState, said: Word, code: int | None, *, cancelled: bool) -> str:
    if state is JobState.CANCELLED:
        return "cancelled" if cancelled else f"cancelled in Slurm by {said.by or 'somebody else'}"
    if said.state in REQUEUED:
        return "Slurm put it back into its own queue"
    if state is JobState.FAILED:
        return f"exit code {code}" if code else "Slurm could not run it; see slurm.out in its folder"
    return _TOLD.get(state, "")
