"""Outcome: what came of a simulation, job by job and over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from stoker.cluster import WHOLE, Node
from stoker.job import Job
from stoker.schedule import Policy
from stoker.simulate.course import Course
from stoker.simulate.inference import Inference, Served, answering
from stoker.simulate.trace import Trace, TracedJob


@dataclass(frozen=True)
class JobOutcome:
    """One job; seconds since the trace began."""

    id: int
    tenant: str
    queue: str
    devices: float
    submitted_at: float
    started_at: float | None  # for the first time; None: it never did
    ended_at: float | None
    work: float  # seconds
    served: float  # seconds that it held devices
    held: float  # device-seconds
    lost: float  # seconds of work done twice
    starting: float  # seconds
    preemptions: int
    deadline: float | None = None
    serving: bool = False  # a replica of inference

    @property
    def completion(self) -> float | None:
        """Job completion time (JCT): from submission to end."""
        return None if self.ended_at is None else self.ended_at - self.submitted_at

    @property
    def queueing(self) -> float | None:
        """Seconds of its completion time in which it held nothing."""
        return None if self.ended_at is None else max(0.0, self.ended_at - self.submitted_at - self.served)


@dataclass(frozen=True)
class Moment:
    """How things stand from `at` on, until the next one."""

    at: float  # seconds since the trace began
    busy: float  # devices that are held
    waiting: int  # jobs
    wanted: float  # devices that these ask for
    broken: float  # free devices on nodes of which others are held
    preemptions: int = 0  # until then
    lost: float = 0.0  # device-seconds of work done twice until then


@dataclass(frozen=True)
class Outcome:
    trace: str
    policy: Policy
    devices: int  # of the pool
    jobs: Sequence[JobOutcome]
    moments: Sequence[Moment]
    held: Mapping[str, Sequence[tuple[float, float]]]  # queue -> (at, devices held from then on)
    asked: Mapping[str, Sequence[tuple[float, float]]]  # queue -> (at, devices held and waited for from then on)
    refused: Mapping[str, int] = field(default_factory=dict)  # why jobs could never run -> how many
    served: Served | None = None  # what inference needed and got


class Recorder:
    """Takes down what happens; mutable."""

    def __init__(self, nodes: Sequence[Node], origin: float) -> None:
        self._origin = origin
        self._sizes = {node.name: WHOLE * len(node.devices) for node in nodes}
        self._used = dict.fromkeys(self._sizes, 0)
        self._busy = self._broken = 0  # thousandths of devices
        self._waiting: dict[int, float] = {}
        self._moments: list[Moment] = []
        self._courses: dict[int, tuple[Course, str]] = {}
        self._queues: dict[str, tuple[float, float]] = {}
        self._held: dict[str, list[tuple[float, float]]] = {}
        self._asked: dict[str, list[tuple[float, float]]] = {}
        self._preemptions, self._lost = 0, 0.0
        self._cut: dict[int, float] = {}  # what each had lost when it was last cut

    def came(self, course: Course, now: float) -> None:
        self._courses[course.traced.id] = course, course.traced.spec.queue or course.traced.tenant
        self._wait(course.traced.id, now)
        self._queue(course.traced.id, 0.0, course.traced.devices, now)

    def _wait(self, job_id: int, now: float) -> None:
        self._waiting[job_id] = self._courses[job_id][0].traced.devices
        self._note(now)

    def took(self, job: Job, course: Course, now: float) -> None:
        self._waiting.pop(job.id)
        self._change(job, 1)
        self._queue(job.id, _placed(job), _placed(job) - course.traced.devices, now)
        self._note(now)

    def released(self, job: Job, now: float) -> None:
        """Its devices are free again; it waits again until told that it has ended."""
        self._change(job, -1)
        placed = _placed(job)  # an elastic job may have less than it asks for
        self._queue(job.id, -placed, self._courses[job.id][0].traced.devices - placed, now)
        self._wait(job.id, now)

    def ended(self, course: Course, now: float) -> None:
        self._waiting.pop(course.traced.id, None)
        self._queue(course.traced.id, 0.0, -course.traced.devices, now)
        self._note(now)

    def cut(self, course: Course, now: float) -> None:
        """It was ended before its time."""
        self._preemptions += 1
        self._lost += course.traced.devices * (course.lost - self._cut.get(course.traced.id, 0.0))
        self._cut[course.traced.id] = course.lost
        self._note(now)

    def close(self, now: float) -> None:
        self._note(now)

    def _change(self, job: Job, sign: int) -> None:
        milli = job.spec.resources.milli
        for placement in job.placements:
            node, taken = placement.node, sign * milli * len(placement.devices)
            self._broken -= self._left(node)
            self._used[node] += taken
            self._broken += self._left(node)
            self._busy += taken

    def _left(self, node: str) -> int:
        used = self._used[node]
        return self._sizes[node] - used if used else 0

    def _queue(self, job_id: int, held: float, asked: float, now: float) -> None:
        name = self._courses[job_id][1]
        before = self._queues.get(name, (0.0, 0.0))
        after = self._queues[name] = before[0] + held, before[1] + asked
        at = now - self._origin
        _append(self._held.setdefault(name, []), at, after[0])
        _append(self._asked.setdefault(name, []), at, after[1])

    def _note(self, now: float) -> None:
        moment = Moment(
            now - self._origin,
            self._busy / WHOLE,
            len(self._waiting),
            sum(self._waiting.values()) if len(self._waiting) < 50 else self._wanted(),
            self._broken / WHOLE,
            self._preemptions,
            self._lost,
        )
        if self._moments and self._moments[-1].at == moment.at:
            self._moments[-1] = moment
        else:
            self._moments.append(moment)

    def _wanted(self) -> float:
        return sum(asked - held for held, asked in self._queues.values())

    def outcome(
        self, trace: Trace, nodes: Sequence[Node], policy: Policy, refused: Sequence[tuple[TracedJob, str]]
    ) -> Outcome:
        reasons: dict[str, int] = {}
        for _, why in refused:
            reasons[why] = reasons.get(why, 0) + 1
        return Outcome(
            trace=trace.name,
            policy=policy,
            devices=sum(len(node.devices) for node in nodes),
            jobs=[self._job(course, queue) for course, queue in self._courses.values()],
            moments=self._moments,
            held=self._held,
            asked=self._asked,
            refused=reasons,
            served=None if trace.inference is None else self._served(trace.inference),
        )

    def _served(self, inference: Inference) -> Served:
        begin, until = self._moments[0].at, self._moments[-1].at
        steps = [step for step in inference.demand.steps(until) if step[0] > begin]
        spans = [
            (course.first_start - self._origin + (course.traced.restart or 0.0), self._gone_at(course))
            for course, _ in self._courses.values()
            if course.traced.serving and course.first_start is not None
        ]
        return Served(
            needed=[(begin, inference.demand.needed(begin)), *steps],
            there=answering([span for span in spans if span[0] < span[1]]),
            devices=inference.replica.nodes * inference.replica.resources.accelerators,
            ceiling=inference.scaling.ceiling,
            begin=begin,
            until=until,
        )

    def _gone_at(self, course: Course) -> float:
        return self._moments[-1].at if course.ended_at is None else course.ended_at - self._origin

    def _job(self, course: Course, queue: str) -> JobOutcome:
        one = course.traced
        return JobOutcome(
            id=one.id,
            tenant=one.tenant,
            queue=queue,
            devices=one.devices,
            submitted_at=one.submitted_at,
            started_at=None if course.first_start is None else course.first_start - self._origin,
            ended_at=None if course.ended_at is None else course.ended_at - self._origin,
            work=one.work,
            served=course.served,
            held=course.held,
            lost=course.lost,
            starting=course.starting,
            preemptions=course.preemptions,
            deadline=one.deadline,
            serving=one.serving,
        )


def _placed(job: Job) -> float:
    return job.spec.resources.milli * sum(len(one.devices) for one in job.placements) / WHOLE


def _append(series: list[tuple[float, float]], at: float, value: float) -> None:
    if series and series[-1][0] == at:
        series[-1] = at, value
    else:
        series.append((at, value))
