"""What may be changed of an endpoint, each as a function from what it is to what it should be."""

from __future__ import annotations

from dataclasses import replace

from stoker.endpoint import Endpoint, Replica, ReplicaState, Scaling
from stoker.job import Job
from stoker.reclaim import KEPT, Return


def coming_up(endpoint: Endpoint, version: int, *, switch: bool) -> Endpoint:
    """With a replica of `version` beside what answers. `switch`: it takes over when ready."""
    if endpoint.version == version and endpoint.scaling.floor > 0:
        # It answers already. Whoever asks for it takes back what was to take over, but not what is being verified.
        return replace(endpoint, candidate=None, switch=False) if switch and endpoint.switch else endpoint
    switch = switch or (endpoint.candidate == version and endpoint.switch)
    return replace(endpoint, candidate=version, switch=switch, wanted=max(1, endpoint.wanted), message="")


def scaled(endpoint: Endpoint, scaling: Scaling, queue: str) -> Endpoint:
    """With other bounds; where it follows the load, as many as it has, if they allow."""
    count = min(max(endpoint.wanted, scaling.floor), scaling.ceiling)
    return replace(endpoint, scaling=scaling, wanted=count, cause="", queue=queue or endpoint.queue)


def resized(endpoint: Endpoint, replicas: int, cause: str) -> Endpoint:
    """With so many replicas, within its bounds; not one that is stopped or does not follow its load."""
    if not endpoint.follows:
        return endpoint
    bounds = endpoint.scaling
    return replace(endpoint, wanted=min(max(replicas, bounds.floor), bounds.ceiling), cause=cause)


def switched(endpoint: Endpoint, version: int) -> Endpoint:
    """`version` answers; what answered before finishes and ends."""
    return replace(
        endpoint, version=version, candidate=None, switch=False, wanted=max(1, endpoint.wanted), message=""
    )


def without_candidate(endpoint: Endpoint, version: int, message: str) -> Endpoint:
    """Without `version` beside what answers; `message` tells why."""
    if endpoint.candidate != version:
        return endpoint
    return replace(endpoint, candidate=None, switch=False, message=message)


def stopped(endpoint: Endpoint) -> Endpoint:
    return replace(endpoint, version=None, candidate=None, switch=False, wanted=0)


def returned(endpoint: Endpoint, job: Job, now: float) -> Endpoint:
    """Which remembers that the replica of `job` answers from `now` on, and how long that took."""
    came = next((one for one in endpoint.replicas if one.job == job.id), None)
    if came is None or job.attempt > 1 or job.started_at is None:  # it came long ago, and comes again
        return endpoint
    took = Return(now, came.displaced, job.started_at - job.submitted_at, now - job.submitted_at)
    return replace(endpoint, returns=(*endpoint.returns[1 - KEPT :], took))


def awake(endpoint: Endpoint, replica: Replica, roused_at: float, now: float) -> Endpoint:
    """With a replica that slept ready again, which remembers how long that took."""
    took = Return(now, replica.displaced, roused_at - replica.since, now - replica.since)
    endpoint = replace(endpoint, returns=(*endpoint.returns[1 - KEPT :], took))
    return with_replica(endpoint, replica.job, state=ReplicaState.READY, since=now, displaced=0)


def with_replica(endpoint: Endpoint, job: int, **changes: object) -> Endpoint:
    """With the replica of `job` changed."""
    replicas = tuple(replace(one, **changes) if one.job == job else one for one in endpoint.replicas)  # type: ignore[arg-type]
    return replace(endpoint, replicas=replicas)
