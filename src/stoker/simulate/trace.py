"""Trace: which jobs came when, what they asked for, and how long each would run if nothing disturbed it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from stoker.job import JobSpec
from stoker.simulate.inference import Inference


@dataclass(frozen=True)
class TracedJob:
    """One job. Only the simulator knows `work`; the scheduler sees `spec`."""

    id: int
    submitted_at: float  # seconds since the trace began
    work: float  # seconds that it runs when it has all it asks for
    spec: JobSpec
    tenant: str = "trace"
    owner: str = "trace"
    restart: float | None = (
        None  # seconds that each start takes; None: `work` holds the first, the policy says others
    )
    deadline: float | None = None  # seconds since the trace began
    serving: bool = False  # a replica of the trace's inference

    @property
    def devices(self) -> float:
        need = self.spec.resources
        return self.spec.nodes * need.accelerators * need.milli / 1000


@dataclass(frozen=True)
class Trace:
    name: str
    jobs: Sequence[TracedJob]  # by `submitted_at`
    notes: Sequence[str] = field(default=())  # what was left out in reading, and why
    begin: float = 0.0  # when the first job came, in the file's own time
    inference: Inference | None = None  # what runs beside the jobs

    def first(self, count: int) -> Trace:
        """The jobs that came first."""
        return replace(self, jobs=self.jobs[:count]) if count else self

    def between(self, begin: float, end: float) -> Trace:
        """The jobs that came from `begin` on and before `end`, shares of all jobs."""
        low, high = round(begin * len(self.jobs)), round(end * len(self.jobs))
        return replace(self, jobs=self.jobs[low:high])

    def preemptible(self) -> Trace:
        """The same with jobs that may be preempted and run again, saving themselves as the policy assumes."""
        jobs = [replace(job, spec=replace(job.spec, preemptible=True)) for job in self.jobs]
        return replace(self, jobs=jobs)

    @property
    def span(self) -> float:
        """Seconds from the first submission to the last."""
        return self.jobs[-1].submitted_at - self.jobs[0].submitted_at if self.jobs else 0.0

    @property
    def device_seconds(self) -> float:
        return sum(job.devices * job.work for job in self.jobs)
