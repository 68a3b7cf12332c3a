"""What became of an attempt, read from its pods. Pure.

A pod that is being deleted tells its end twice: by its container's exit code, which says only that it was told to
end, and by why somebody deleted it. The second is the cause; it is found out elsewhere and kept in the record.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from stoker.engine import Observation
from stoker.engines.kubernetes.nodes import moment, unschedulable
from stoker.job import JobState

Object = Mapping[str, Any]

GONE = "gone"  # our own mark on the last state of a pod that exists no more
IMAGE_TROUBLE = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable",
     "ImageInspectError", "CreateContainerConfigError", "CreateContainerError"}
)  # fmt: skip
HOPELESS = frozenset({"InvalidImageName", "ErrImageNeverPull"})  # waiting changes nothing
_PREEMPTED = frozenset({"Preempting", "Preempted", "PreemptionByScheduler", "PreemptionByKubeScheduler"})
_NO_START = frozenset({"StartError", "ContainerCannotRun", "RunContainerError"})
_VANISHED = Observation(  # a pod is gone, and nobody here knows why
    JobState.CANCELLED, reason="Deleted", message="its pod is gone from Kubernetes: somebody deleted it"
)
_NOT_FOUND = {126: "is not executable", 127: "was not found"}


@dataclass(frozen=True)
class View:
    """One pod as it matters to its attempt."""

    waiting: bool = False  # its container has not begun
    over: bool = False  # nothing of it runs any more
    end: Observation | None = None  # how it ended by itself
    started_at: float | None = None
    reason: str = ""  # why it waits
    message: str = ""


@dataclass(frozen=True)
class Seen:
    """`now` is what is told; `cause`, when set, is why the attempt ends and the rest of it is to be ended."""

    now: Observation
    cause: Observation | None = None


def look(
    pods: Sequence[Object | None],
    program: str,
    cause: Observation | None,
    *,
    now: float,
    lost: Callable[[Object], bool],
    stuck: Callable[[Object], bool] = lambda _pod: False,
) -> Seen:
    """The attempt whose ranks have `pods` (None: not made yet); `cause` is why it ends, when that is known already.

    `lost(pod)`: its node is gone for good. `stuck(pod)`: it has ended, and its container should long have been.
    """
    views = [_view(pod, program, lost, stuck) for pod in pods]
    cause = cause or _first_failure(views)
    started = [view.started_at for view in views if view.started_at is not None]
    began = min(started, default=None)
    if all(view.over for view in views):
        end = cause or _success(views) or _VANISHED
        ended = max((view.end.ended_at or 0.0 for view in views if view.end), default=0.0) or now
        if began is not None:
            ended = max(began, ended)
        return Seen(replace(end, started_at=began, ended_at=min(ended, now)), cause)
    if cause is not None:
        told = Observation(JobState.STOPPING, started_at=began, reason=cause.reason, message=cause.message)
        return Seen(told, cause)
    waits = next((view for view in views if view.waiting), None)
    if waits is not None:
        return Seen(Observation(JobState.STARTING, reason=waits.reason, message=waits.message))
    return Seen(Observation(JobState.RUNNING, started_at=min(began or now, now)))


def begun(pod: Object) -> bool:
    """Whether its container has been started, and may have ended since."""
    states = [one.get("state") or {} for one in (pod.get("status") or {}).get("containerStatuses") or ()]
    return any("running" in state or "terminated" in state for state in states)


def over(pod: Object) -> bool:
    """Whether nothing of it will run any more."""
    return bool(pod.get(GONE)) or (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def image_trouble(pod: Object) -> tuple[str, str]:
    """The kubelet's word and sentence when it cannot make the container; empty when it can or does not know yet."""
    for status in (pod.get("status") or {}).get("containerStatuses") or ():
        waiting = (status.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") in IMAGE_TROUBLE:
            said = " ".join(str(waiting.get("message") or "").split())
            return str(waiting["reason"]), said
    return "", ""


def taken_away(word: str, said: str) -> Observation:
    """The end of a pod that was not left to end by itself: `word` and what is `said` are Kubernetes' own."""
    state = JobState.PREEMPTED if word in _PREEMPTED else JobState.NODE_FAIL
    return Observation(state, reason=word, message=" ".join(said.split()) or f"Kubernetes says {word}")


def disruption(pod: Object) -> Observation | None:
    """Why the pod is being taken away, where Kubernetes (1.26 and newer) writes that on it."""
    for one in (pod.get("status") or {}).get("conditions") or ():
        if one["type"] == "DisruptionTarget" and one["status"] == "True":
            return taken_away(str(one.get("reason") or "DisruptionTarget"), str(one.get("message") or ""))
    return None


def _view(
    pod: Object | None, program: str, lost: Callable[[Object], bool], stuck: Callable[[Object], bool]
) -> View:
    if pod is None:
        return View(waiting=True, reason="Creating")
    status = pod.get("status") or {}
    state = next((one.get("state") or {} for one in status.get("containerStatuses") or ()), {})
    terminated, running = state.get("terminated"), state.get("running")
    began = moment((running or terminated or {}).get("startedAt"))
    if status.get("phase") in ("Succeeded", "Failed"):
        if running and not pod.get(GONE) and not stuck(pod):
            end = _of_status(status) if status.get("reason") else None
            return View(end=end, started_at=began)
        end = _end(status, terminated, program) if _by_itself(pod, terminated) else None
        return View(over=True, end=end, started_at=began)
    if pod.get(GONE) or lost(pod):
        return View(over=True, started_at=began)
    if running or terminated:
        return View(started_at=began)
    word, said = image_trouble(pod)
    if not word:
        word, said = unschedulable(pod)
    waiting = (state.get("waiting") or {}).get("reason") or ""
    return View(waiting=True, reason=word or waiting or "Pending", message=said)


def _by_itself(pod: Object, terminated: Object | None) -> bool:
    """Whether it had ended before anybody asked for its deletion."""
    asked = moment(pod["metadata"].get("deletionTimestamp"))
    if asked is None:
        return True
    finished = moment((terminated or {}).get("finishedAt"))
    return finished is not None and finished < asked - float(pod["metadata"].get("deletionGracePeriodSeconds") or 0)


def _end(status: Object, terminated: Object | None, program: str) -> Observation:
    """How a pod in a final phase ended."""
    if status.get("reason"):
        ended = _of_status(status)
        return replace(ended, ended_at=moment((terminated or {}).get("finishedAt")))
    if terminated is None:
        return Observation(JobState.NODE_FAIL, reason="NodeFail", message="its node did not say how it ended")
    code, word = int(terminated.get("exitCode", 0)), str(terminated.get("reason") or "")
    end = Observation(JobState.SUCCEEDED, ended_at=moment(terminated.get("finishedAt")), exit_code=code)
    if word == "OOMKilled":
        return replace(
            end, state=JobState.OUT_OF_MEMORY, reason=word, message="it used more memory than it asked for"
        )
    if word == "ContainerStatusUnknown":
        return replace(end, state=JobState.NODE_FAIL, exit_code=None, reason=word, message="its node lost it")
    if word in _NO_START:
        said = " ".join(str(terminated.get("message") or "").split()).rpartition("OCI runtime create failed: ")[2]
        return replace(end, state=JobState.FAILED, reason=word, message=said or f"{program} cannot be started")
    if code == 0:
        return end
    said = f'its program "{program}" {_NOT_FOUND[code]}' if code in _NOT_FOUND else f"exit code {code}"
    return replace(end, state=JobState.FAILED, reason="NonZeroExitCode", message=said)


def _of_status(status: Object) -> Observation:
    """By the word that stands on the pod itself: the node, and not the program, ended it."""
    word = str(status["reason"])
    if word == "DeadlineExceeded":
        return Observation(JobState.TIMEOUT, reason="TimeLimit", message="its time limit is over")
    return taken_away(word, str(status.get("message") or ""))


def _first_failure(views: Sequence[View]) -> Observation | None:
    failed = [
        (view.end.ended_at or math.inf, rank, view.end)
        for rank, view in enumerate(views)
        if view.end is not None and view.end.state is not JobState.SUCCEEDED
    ]
    if not failed:
        return None
    _, rank, end = min(failed, key=lambda one: one[:2])
    return replace(end, message=f"rank {rank}: {end.message}") if len(views) > 1 else end


def _success(views: Sequence[View]) -> Observation | None:
    return views[0].end if all(view.end is not None for view in views) else None
