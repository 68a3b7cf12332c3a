"""Sleeping replicas: their weights go to the host's memory, their devices to whoever the scheduler gives them to.

The job stays. While its replica is asleep the scheduler takes it for one that holds no devices, so they are lent as
all that is free. To wake it, whoever holds them meanwhile is preempted; then the engine is told. Only where we
ourselves say who has which device, on the local engine: Slurm and Kubernetes take a job's devices for held.
"""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import Future, ThreadPoolExecutor

import httpx

from stoker.control.jobs import JobDesk
from stoker.control.replica_keys import secret_of
from stoker.control.replicas import SLEEPS
from stoker.control.rights import platform
from stoker.endpoint import Endpoint, Replica, ReplicaState
from stoker.engine_config import LOCAL
from stoker.job import Job
from stoker.serve.changes import awake, with_replica

_PATIENCE_S = 60.0  # weights of 140 GB go over PCIe in some ten seconds
_PLATFORM = platform()


class Sleepers:
    """Used by one thread; engines are told by others, since that takes seconds."""

    def __init__(self, jobs: JobDesk) -> None:
        self._jobs = jobs
        self._calls: dict[tuple[int, float, str], tuple[float, Future[bool]]] = {}  # with when they began
        self._threads = ThreadPoolExecutor(8, "sleepers")

    def able(self, job: Job) -> bool:
        """Whether its engine can sleep, and others may have its devices meanwhile."""
        return SLEEPS in job.spec.labels and job.engine == LOCAL and self._jobs.decides

    def doze(self, endpoint: Endpoint, replica: Replica, now: float) -> Endpoint:
        """`endpoint` one step nearer to `replica` being asleep; without it where it cannot be."""
        _, done = self._told(replica, "/sleep?level=1", now, asleep=True)
        if done is False:
            return self._without(endpoint, replica)
        return with_replica(endpoint, replica.job, state=ReplicaState.ASLEEP, since=now) if done else endpoint

    def rouse(self, endpoint: Endpoint, replica: Replica, now: float, lent: Collection[int]) -> Endpoint:
        """`endpoint` one step nearer to `replica` being awake; without it where it cannot be.

        `lent`: jobs that sleep, too.
        """
        if not self._jobs.decided_since(replica.since):
            return endpoint  # a pass under way may still give its devices away
        mine = self._jobs.get(replica.job, _PLATFORM)
        holders = [job for job in self._jobs.beside(mine) if job.id not in lent]
        if not all(job.spec.preemptible and job.spec.priority < mine.spec.priority for job in holders):
            return self._without(endpoint, replica)
        if holders:
            why = f'preempted for "{endpoint.name}", which takes back the devices of its replica, job {mine.label}'
            self._jobs.preempt(holders, why)
            return with_replica(endpoint, replica.job, displaced=max(replica.displaced, len(holders)))
        began, done = self._told(replica, "/wake_up", now, asleep=False)
        if done is False:
            return self._without(endpoint, replica)
        return awake(endpoint, replica, began, now) if done else endpoint

    def _without(self, endpoint: Endpoint, replica: Replica) -> Endpoint:
        self._jobs.cancel([replica.job], _PLATFORM)
        return with_replica(endpoint, replica.job, state=ReplicaState.DRAINING, url="")

    def _told(self, replica: Replica, path: str, now: float, *, asleep: bool) -> tuple[float, bool | None]:
        """When its engine was told, and whether it did it; None until that is known."""
        key = (replica.job, replica.since, path)  # once an occasion
        if key not in self._calls:
            self._calls[key] = now, self._threads.submit(_tell, replica, path, asleep)
        began, call = self._calls[key]
        if not call.done():
            return began, None
        del self._calls[key]
        return began, call.result()


def _tell(replica: Replica, path: str, asleep: bool) -> bool:
    """Whether the engine did as it was told, and says so itself; in the words of vLLM's sleep mode."""
    secret = secret_of(replica)
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    try:
        with httpx.Client(headers=headers, timeout=_PATIENCE_S, trust_env=False) as engine:
            engine.post(f"{replica.url}{path}").raise_for_status()
            told = engine.get(f"{replica.url}/is_sleeping").raise_for_status().json()
            return bool(told["is_sleeping"]) is asleep
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return False
