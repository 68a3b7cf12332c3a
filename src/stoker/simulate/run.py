"""The simulator: what the scheduler of production would have done with a trace.

Time jumps from event to event: a job comes, ends, has stopped, inference wants more or fewer replicas, or the plan
named a moment. After each, `schedule.decide` is asked as the dispatcher would ask it, and its plan carried out.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from itertools import count

from stoker.cluster import Node
from stoker.errors import BadInput
from stoker.job import Job, JobKind, JobSpec, JobState
from stoker.queue import Queue
from stoker.schedule import Credits, Meter, Plan, Policy, Quantity, Snapshot, Start, decide, mix_of, unfit
from stoker.schedule.lifetimes import Age, Experience, Lifetimes, kind_of
from stoker.schedule.pool import Pool
from stoker.schedule.rank import rank_of
from stoker.simulate.course import Course
from stoker.simulate.fleet import Fleet
from stoker.simulate.outcome import Outcome, Recorder
from stoker.simulate.trace import Trace, TracedJob
from stoker.simulate.waiting import Waiting

ORIGIN = 1_000_000_000.0  # the trace's time zero, seconds since the epoch: zero itself would read as "not yet"
_LEARN_AFTER = 200  # jobs after which the mix is learnt anew, as the dispatcher does
_RECENT = 2000
_FEW = 3  # jobs of a kind that a pass is offered at first
_MOST_ROUNDS = 50  # plans for one moment: each has to change something


class _Kind(IntEnum):
    """What happens; at one moment in this order."""

    END = 0
    STOPPED = 1
    COME = 2
    LOAD = 3
    WAKE = 4


@dataclass(frozen=True)
class Settings:
    """`progress` is told the share that is done, now and then; `seen` what each pass saw and decided. `until` ends
    the simulation early (seconds)."""

    policy: Policy = field(default_factory=Policy)
    queues: Sequence[Queue] = ()
    until: float = math.inf
    progress: Callable[[float], None] | None = None
    seen: Callable[[Snapshot, Plan], None] | None = None


def simulate(trace: Trace, nodes: Sequence[Node], settings: Settings | None = None) -> Outcome:
    """Run `trace` on `nodes`. Jobs that could never run there are counted as refused, as at submission.

    Raises BadInput when none could.
    """
    settings = settings or Settings()
    simulation = _Simulation(trace, tuple(nodes), settings)
    if not simulation.admitted:
        raise BadInput(f"no job of {trace.name} could ever run on this cluster: {simulation.refused[0][1]}")
    simulation.run()
    return simulation.recorder.outcome(trace, nodes, settings.policy, simulation.refused)


class _Simulation:
    def __init__(self, trace: Trace, nodes: tuple[Node, ...], settings: Settings) -> None:
        self._nodes = nodes
        self._settings = settings
        self._policy = settings.policy
        self.refused, self.admitted = _sorted_out(trace.jobs, nodes)
        self._left = len(self.admitted)  # jobs of the trace that have not ended
        self._fleet = Fleet(trace.inference, trace, settings.policy) if trace.inference else None
        self.recorder = Recorder(nodes, ORIGIN)
        self._now = ORIGIN
        self._order = count()
        self._events: list[tuple[float, int, int, int, int]] = []  # at, kind, order, job, version
        self._courses: dict[int, Course] = {}
        self._waiting = Waiting(everything=bool(settings.queues))
        self._active: dict[int, Job] = {}
        self._recent: list[JobSpec] = []
        self._mix = mix_of(())
        self._experience = Experience()
        self._lifetimes: Lifetimes | None = None
        self._victims: dict[int, list[int]] = {}  # job -> those that were ended for it
        self._served: dict[int, float] = {}
        self._queues = {queue.name: queue for queue in settings.queues}
        self._quantity = Quantity(nodes, settings.queues)
        self._meter = Meter(ORIGIN)
        self._credits = Credits()
        self._since: dict[int, float] = {}
        self._pool = Pool()
        self._unlearnt = 0
        self._wake: float | None = None
        self._got_on_at = ORIGIN  # when a job of the trace last did
        for job in self.admitted:
            self._enter(job, ORIGIN + job.submitted_at)
        if self._fleet is not None:
            self._push(ORIGIN + self._fleet.next_at, _Kind.LOAD)

    def _enter(self, job: TracedJob, at: float) -> None:
        self._courses[job.id] = Course(job)
        self._push(at, _Kind.COME, job.id)

    def run(self) -> None:
        until = ORIGIN + self._settings.until
        while self._left and self._events and self._events[0][0] <= until:
            self._now = self._events[0][0]
            if self._queues:
                self._meter.advance(self._now, self._active.values(), self._queues, self._quantity)
            for kind, job_id, version in self._due():
                self._happen(kind, job_id, version)
            self._settle()
            if self._settings.progress:
                self._settings.progress(1.0 - self._left / len(self.admitted))
        self.recorder.close(self._now)

    def _due(self) -> Iterator[tuple[_Kind, int, int]]:
        """What happens at this moment."""
        while self._events and self._events[0][0] <= self._now:
            _, kind, _, job_id, version = heapq.heappop(self._events)
            yield _Kind(kind), job_id, version

    def _push(self, at: float, kind: _Kind, job_id: int = 0, version: int = 0) -> None:
        heapq.heappush(self._events, (at, kind, next(self._order), job_id, version))

    def _happen(self, kind: _Kind, job_id: int, version: int) -> None:
        if kind is _Kind.WAKE:
            self._wake = None
            return
        if kind is _Kind.LOAD:
            self._follow_load()
            return
        course = self._courses[job_id]
        if kind is _Kind.COME:
            job = course.submitted(self._now)
            self._waiting.add(job)
            self.recorder.came(course, self._now)
            self._learn(job)
        elif version == course.version:
            job = self._active.pop(job_id)
            self.recorder.released(job, self._now)
            if kind is _Kind.END:
                self._left -= 1
                self._got_on_at = self._now
                course.ended(self._now)
                self._experience.ended(job, course.served)
                self._served.pop(job_id, None)
                self.recorder.ended(course, self._now)
            else:
                self._requeue(job, course)

    def _follow_load(self) -> None:
        """Replicas come and go. It ends where jobs get nowhere: as load repeats itself, none ever will."""
        fleet = self._fleet
        assert fleet is not None  # noqa: S101 - only it has loads
        come, gone = fleet.step()
        for replica in come:
            self._enter(replica, self._now)
        for job_id in gone:
            self._retire(job_id)
        if self._now < ORIGIN + self.admitted[-1].submitted_at or any(map(self._gets_on, self._active.values())):
            self._got_on_at = self._now
        if self._now - self._got_on_at < 2 * fleet.period:
            self._push(ORIGIN + fleet.next_at, _Kind.LOAD)
        else:
            self._events.clear()

    def _gets_on(self, job: Job) -> bool:
        """Whether it is a job of the trace that has safe work to show, or a period without being displaced."""
        course, fleet = self._courses[job.id], self._fleet
        if course.traced.serving or fleet is None or job.started_at is None:
            return False
        return course.safe(self._now, self._saves_every(job)) > 0 or self._now - job.started_at > fleet.period

    def _saves_every(self, job: Job) -> float:
        """Seconds between checkpoints; 0: it saves itself when it is told to."""
        every = self._policy.checkpoint_every if job.spec.checkpoint_every is None else job.spec.checkpoint_every
        return 0.0 if job.spec.checkpoint_signal else every

    def _retire(self, job_id: int) -> None:
        """A replica is not needed any more, whether it runs or waits."""
        course = self._courses[job_id]
        if (job := self._active.pop(job_id, None)) is not None:
            self.recorder.released(job, self._now)
            course.ended(self._now)
        else:
            self._waiting.pop(job_id)
            self._settle_claims(job_id)
        self.recorder.ended(course, self._now)

    def _learn(self, job: Job) -> None:
        self._recent.append(job.spec)
        self._unlearnt += 1
        if self._unlearnt >= _LEARN_AFTER:
            self._recent = self._recent[-_RECENT:]
            self._mix, self._unlearnt = mix_of(self._recent), 0

    def _settle(self) -> None:
        """Ask and carry out until the plan changes nothing more at this moment."""
        for _ in range(_MOST_ROUNDS):
            plan = self._decided()
            if not self._apply(plan):
                self._note_wake(plan)
                return
            for kind, job_id, version in self._due():
                self._happen(kind, job_id, version)

    def _decided(self) -> Plan:
        """The plan for all that waits; only those that may get something are looked at."""
        self._rank_anew()
        most = _FEW
        while True:
            snapshot = self._snapshot(self._waiting.offered(most, self._victims))
            plan = decide(snapshot, self._pool)
            taken = {start.job.id for start in plan.starts} | {one.job.id for one in plan.preempts}
            taken |= {one.room_for.id for one in plan.moves} | self._victims.keys()
            if self._waiting.enough(most, taken):
                self._credits.note(snapshot, plan)
                if self._settings.seen:
                    self._settings.seen(snapshot, plan)
                return plan
            most *= 4

    def _rank_anew(self) -> None:
        lifetimes = self._experience.lifetimes(self._now, self._ages)
        if lifetimes is not self._lifetimes:
            self._lifetimes = lifetimes
            self._waiting.rank_by(rank_of(self._snapshot(())))

    def _snapshot(self, pending: Sequence[Job]) -> Snapshot:
        return Snapshot(
            now=self._now,
            nodes=self._nodes,
            pending=pending,
            active=list(self._active.values()),
            mix=self._mix,
            policy=self._policy,
            lifetimes=self._lifetimes or Lifetimes(),
            served=self._served,
            queues=self._settings.queues,
            usage=self._meter.used if self._queues else {},
            credit=self._credits.at(self._now),
            since=self._since,
        )

    def _ages(self) -> Iterator[Age]:
        for job in (*self._active.values(), *self._waiting.jobs.values()):
            ran = self._courses[job.id].served + (self._now - job.started_at if job.started_at else 0.0)
            if ran and job.spec.kind is not JobKind.SERVICE:
                yield Age(kind_of(job), ran, ended=False)

    def _apply(self, plan: Plan) -> bool:
        """Whether victims have to go before it is known what comes next."""
        for start in plan.starts:
            self._start(start)
        for job_id in plan.fails:
            self._waiting.pop(job_id)
            self._left -= 1
        for preempt in plan.preempts:
            for victim in preempt.victims:
                self._end(victim, preempt.job.id)
        for move in plan.moves:
            self._end(replace(move.job, moves=True), move.room_for.id)
        return bool(plan.preempts or plan.moves)

    def _end(self, victim: Job, for_whom: int) -> None:
        """It is told to go, and gone after its warning; at once if it needs none."""
        course, spec = self._courses[victim.id], victim.spec
        self._active[victim.id] = replace(victim, state=JobState.STOPPING, gives_way_to=for_whom)
        self._since[victim.id] = self._now
        if course.ends_at <= self._now + spec.warning:
            return  # it is done before
        course.told_to_go(self._saves_every(victim))
        self._victims.setdefault(for_whom, []).append(victim.id)
        self._push(self._now + spec.warning, _Kind.STOPPED, victim.id, course.version)

    def _requeue(self, job: Job, course: Course) -> None:
        course.cut(self._now)
        self.recorder.cut(course, self._now)
        self._served[job.id] = course.served
        self._since[job.id] = self._now
        self._waiting.add(course.waits_again(job))

    def _start(self, start: Start) -> None:
        course = self._courses[start.job.id]
        job = course.started(start, self._now, self._policy)
        self._waiting.pop(job.id)
        self._settle_claims(job.id)
        self._active[job.id] = job
        self.recorder.took(job, course, self._now)
        if math.isfinite(course.ends_at):
            self._push(course.ends_at, _Kind.END, job.id, course.version)

    def _settle_claims(self, job_id: int) -> None:
        """What has gone for a job that starts now owes it nothing more."""
        for victim in self._victims.pop(job_id, ()):
            if (one := self._waiting.jobs.get(victim)) is not None and one.gives_way_to == job_id:
                self._waiting.pop(victim)
                self._waiting.add(replace(one, gives_way_to=None))

    def _note_wake(self, plan: Plan) -> None:
        """One moment is remembered: an earlier one replaces it, a later one is named again by then."""
        if plan.wake_at is not None and self._events and (self._wake is None or plan.wake_at < self._wake):
            self._wake = max(plan.wake_at, self._now)
            if self._wake > self._now:
                self._push(self._wake, _Kind.WAKE)


def _sorted_out(
    jobs: Sequence[TracedJob], nodes: tuple[Node, ...]
) -> tuple[list[tuple[TracedJob, str]], list[TracedJob]]:
    """Those that could never run there with the reason, and the others. Alike ones are looked at once."""
    seen: dict[object, str] = {}
    refused: list[tuple[TracedJob, str]] = []
    admitted: list[TracedJob] = []
    for job in jobs:
        shape = (job.spec.resources, job.spec.nodes, job.spec.exclusive, job.spec.engine, job.spec.tolerations)
        if shape not in seen:
            seen[shape] = unfit(job.spec, nodes)
        if seen[shape]:
            refused.append((job, seen[shape]))
        else:
            admitted.append(job)
    return refused, admitted
