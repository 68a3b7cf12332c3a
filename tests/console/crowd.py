"""A hundred nodes: no engine here has them, so a stand-in of the two desks that the overview asks does."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI

from stoker.account import Account
from stoker.cluster import Device, Health, Node
from stoker.console import pages
from stoker.expectation import Expectation
from stoker.job import Job, JobSpec, JobState, Placement, Resources
from stoker.signal import Sample, Signal
from stoker.telemetry import Telemetry


@dataclass(frozen=True)
class CrowdedJobs:
    """The jobs of a big cluster, held in memory."""

    held: Sequence[Job]

    def find(
        self, who: Account, *, states: Sequence[JobState] = (), limit: int = 100, **rest: Any
    ) -> Sequence[Job]:
        return [job for job in self.held if not states or job.state in states][:limit]

    def counts(self, who: Account) -> Mapping[JobState, int]:
        return {JobState.RUNNING: len(self.held)}

    def telemetry(self, job_id: int, who: Account) -> Telemetry:
        """Two thirds report their speed: most as expected, some slow."""
        if job_id % 3 == 0:
            return Telemetry()
        mfu = 0.45 * random.Random(job_id).choice((0.97, 0.99, 1.02, 0.93, 0.61, 0.35))  # noqa: S311 - a picture
        expected = Expectation("mfu", 0.45, 0.4, 0.5, "share", "calibrated")
        return Telemetry(
            signals={"mfu": Signal("mfu", "share", "", (Sample(1.0, mfu),))}, expectations={"mfu": expected}
        )

    @property
    def changed(self) -> int:
        return 0


def crowd() -> tuple[tuple[Node, ...], list[Job]]:
    """100 nodes of 8 devices, each with a job of 6, one device sick."""
    devices = tuple(Device(index, "H100", 80 << 30) for index in range(7))
    sick = Device(7, "H100", 80 << 30, health=Health.FAILED)
    nodes = tuple(Node(f"gpu-{number:03}", "slurm", 96, 2 << 40, (*devices, sick)) for number in range(100))
    need = Resources(6, cpus=48, memory=1 << 40)
    jobs = [
        Job(
            number + 1,
            JobSpec(f"job-{number}", ("true",), resources=need),
            "t",
            f"team-{number % 7}",
            JobState.RUNNING,
            0.0,
            10.0,
            engine="slurm",
            placements=(Placement(f"gpu-{number:03}", tuple(range(6))),),
        )
        for number in range(100)
    ]
    return nodes, jobs


@dataclass(frozen=True)
class CrowdedDesks:
    """A real platform's desks, but for its nodes and jobs."""

    app: Any
    jobs: CrowdedJobs
    crowd: tuple[Node, ...]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.app, name)

    def nodes(self, who: Account) -> Sequence[Node]:
        return self.crowd


def crowded(app: Any) -> FastAPI:
    nodes, jobs = crowd()
    server = FastAPI()
    server.include_router(pages.router(CrowdedDesks(app, CrowdedJobs(jobs), nodes)))  # type: ignore[arg-type]
    return server
