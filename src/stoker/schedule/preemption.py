"""Preemption: in one pass, whose room is being made, who is ended for it, and that nobody else gets in between.

A job whose victims are being ended, or have ended a moment ago, comes before all others: what they free, with what
is free already, is kept for it until it starts. That needs no memory: a victim says in `gives_way_to` for whom it
went, until it starts again. So a platform that is killed at any moment goes on where it was. The last one that says
so does not start before the one it went for (`waits_behind`): that one would be forgotten, and have it ended again.

Nobody displaces a job of his own queue that is not of lower priority, nor takes from another queue more than that
has borrowed (`line`). That rules out two jobs that displace each other for ever.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from stoker.job import Job, JobSpec, JobState, Placement
from stoker.schedule import policy as policies
from stoker.schedule.defragment import Relief, by_row, relieve
from stoker.schedule.elastic import could_grow, largest, worth_it
from stoker.schedule.field import Field
from stoker.schedule.line import Line
from stoker.schedule.snapshot import Preempt, Relocate, Snapshot, Wait
from stoker.schedule.trial import Trial
from stoker.schedule.victims import Candidate, Choice, choose, lost, size

_MOST_TRIES = 50  # in one pass that help nobody: each looks at all that runs
_GATHERED = 32  # victims, the cheapest, that are looked at together with moves
_NAMED = 4  # victims that a message names
_SHOWN_S = 60.0  # after a victim has gone; by then its engine shows its room as free


@dataclass(frozen=True)
class Kept:
    """What is kept for the first job that waits, whose start must not be pushed back."""

    left: Field  # what it leaves over
    given: Collection[int]  # jobs that have ended by then


@dataclass(frozen=True)
class Room:
    """Where a job is to start once those before it there are gone."""

    engine: str
    placements: tuple[Placement, ...]
    wait: Wait


class Preemption:
    def __init__(self, snapshot: Snapshot, line: Line) -> None:
        """`line` says whose devices may be taken for whom, and what quotas refuse."""
        self._snapshot = snapshot
        self._line = line
        never = snapshot.policy.preempt is policies.Preempt.NEVER
        self._movable = [] if never else [job for job in snapshot.active if _movable(job)]
        self._going = [job for job in snapshot.active if job.state is JobState.STOPPING]
        self._claims = _claims(snapshot)
        self._went = _went(snapshot)
        self._standing: Mapping[int, float] | None = None  # reckoned when it is asked for
        self._hopeless: set[Hashable] = set()
        self._shared: dict[Hashable, tuple[Job, ...]] = {}  # whom this pass has ended for jobs that are alike
        self._movable_elastic = [] if never else [job for job in snapshot.active if could_grow(job)]
        self._may_show_more = bool(snapshot.away or snapshot.others) or not all(
            node.schedulable for node in snapshot.nodes
        )
        self._unsettled: set[int] = set()  # jobs for whom others went, and which have not started
        self.plans: list[Preempt] = []
        self.moves: list[Relocate] = []
        self.wake_at = math.inf  # when somebody has run long enough to be displaced

    @property
    def possible(self) -> bool:
        """Whether anything that runs might be ended for others."""
        return bool(self._movable)

    @property
    def going(self) -> set[int]:
        """Jobs that are being ended, those of `plans` included."""
        return {job.id for job in self._going}

    def movers(self) -> list[Job]:
        """Those that are being ended to start elsewhere at once, in the order in which they get their room."""
        return sorted((job for job in self._going if job.moves), key=_largest_first)

    def relieve(self, job: Job, spec: JobSpec, pool: Field, until: float) -> list[tuple[Job, Room]]:
        """Let `job`, which would have to wait `until` then, in by moving others, who are then in `moves`.

        Its room, and of each that moves the one where it starts again; nothing where that does not help, or costs
        more than half of the device-seconds that `job` would wait for. The caller keeps the rooms.
        """
        now, policy = self._snapshot.now, self._snapshot.policy
        most = policy.moves - len(self.movers())
        movable = self._may_move(job)
        if most <= 0 or not movable or self._line.refuses(job, self._going) is not None:
            return []
        if job.id in self._unsettled and self._about_to_show(job.id):
            return []
        field = pool.copy()
        for going in self._going:
            field.give(going.spec, going.engine, going.placements)
        if field.missing(spec):
            return []
        relief = relieve(field, spec, by_row(field, movable), most, lambda one: lost(one, now, policy))
        if relief is None or not relief.moves or 2.0 * relief.lost >= size(job) * (until - now):
            return []
        return self._moved(job, spec, relief, field)

    def _moved(
        self, job: Job, spec: JobSpec, relief: Relief, field: Field, ended: Sequence[Job] = ()
    ) -> list[tuple[Job, Room]]:
        """The rooms of `job` and of those that move for it, noted in `moves`; `ended` go for good."""
        now, policy = self._snapshot.now, self._snapshot.policy
        moved = sorted((move.job for move in relief.moves), key=_largest_first)
        rooms = self._settled(job, spec, moved, field, ended)
        for one, room in rooms[1:]:
            buys = f"lets job {job.label} in"
            self.moves.append(Relocate(one, room.engine, room.placements, job, lost(one, now, policy), buys))
            self._going.append(one)
        return rooms

    def _settled(
        self, job: Job, spec: JobSpec, moved: Sequence[Job], field: Field, ended: Sequence[Job]
    ) -> list[tuple[Job, Room]]:
        """Where each goes when they get their room one after the other, as the next passes give it; all or none."""
        for one in moved:
            field.give(one.spec, one.engine, one.placements)
        rooms: list[tuple[Job, Room]] = []
        for one, asked in ((job, spec), *((one, self._line.narrowed(one)) for one in moved)):
            fitting = largest(asked, field.fits)
            if fitting is None:
                return []
            engine, placements = field.fit(fitting)
            field.take(fitting, engine, placements)
            rooms.append((one, Room(engine, placements, _waits_for([*ended, *moved]))))
        stays = any((room.engine, room.placements) == (one.engine, one.placements) for one, room in rooms)
        return [] if stays else rooms

    def grow(self, pool: Field) -> None:
        """When nobody waits for room: let one elastic job start again on more nodes, where that is worth it."""
        now, policy = self._snapshot.now, self._snapshot.policy
        for job in self._movable_elastic:
            if job.id in self.going or not self._has_run(job):
                continue
            trial = self._trial(job, pool, None)
            trial.give(job)
            more = largest(self._line.narrowed(job), lambda one, trial=trial: trial.fits(one))  # type: ignore[misc]
            if more is not None and more.nodes > len(job.placements) and worth_it(job, more.nodes, now, policy):
                buys = f"grows from {len(job.placements)} to {more.nodes} nodes"
                self.moves.append(Relocate(job, *trial.fit(more), job, lost(job, now, policy), buys))
                self._going.append(job)
                return

    def claimants(self, ready: Iterable[Job]) -> list[Job]:
        """Those for whom others were ended; they come before all who wait, and the overdue first of them: what was
        freed for one of these is not for a higher priority for which others are still being ended."""
        if not self._claims:
            return []
        claimed = [job for job in ready if job.id in self._claims]
        self._unsettled = {job.id for job in claimed}
        return sorted(
            claimed, key=lambda job: (job.moves, self._line.overdue_since(job), -job.spec.priority, job.id)
        )

    def coming(self, job: Job, spec: JobSpec, pool: Field, kept: Kept | None = None) -> Room | None:
        """Where `job`, for which others were ended, starts when all who are being ended are gone, without pushing
        back what is `kept`."""
        trial = self._trial(job, pool, kept)
        fitting = largest(spec, trial.fits)
        if fitting is None:
            return None
        return Room(*trial.fit(fitting), _waits_for(self._ended_for(job)))

    def waits_behind(self, job: Job, kept: Collection[int]) -> bool:
        """Whether `job`, which went for another, starts only with or after that one: the other's room is `kept` and
        `job` the last that says for whom it is, or that room should be shown as free any moment."""
        other = job.gives_way_to
        if other is None or other == job.id or other not in self._unsettled:
            return False
        return self._went[other] == {job.id} if other in kept else self._about_to_show(other)

    def started(self, job: Job) -> None:
        """Note that `job` starts: it says no more for whom it went, and who went for it is free to go on."""
        self._unsettled.discard(job.id)
        if job.gives_way_to is not None:
            self._went[job.gives_way_to].discard(job.id)

    def _about_to_show(self, job_id: int) -> bool:
        """Whether somebody went for this job so short ago that its engine may not show its room as free yet: there
        is something that is closed, away or held by others."""
        since = self._snapshot.since
        if not self._may_show_more:
            return False
        last = max((since.get(victim, -math.inf) for victim in self._went.get(job_id, ())), default=-math.inf)
        if last + _SHOWN_S <= self._snapshot.now:
            return False
        self.wake_at = min(self.wake_at, last + _SHOWN_S)
        return True

    def fit_together(self, jobs: Iterable[Job], pool: Field, kept: Kept) -> bool:
        """Whether all of `jobs`, for which others were ended, fit once these are gone, without pushing back what is
        `kept`."""
        trial = Trial(pool, kept.left, kept.given)
        for going in self._going:
            trial.give(going)
        field = trial.field
        for job in jobs:
            fitting = largest(self._line.narrowed(job), field.fits)
            if fitting is None:
                return False
            field.take(fitting, *field.fit(fitting))
        return True

    def room(
        self, job: Job, spec: JobSpec, shape: Hashable, pool: Field, kept: Kept | None, alike: int
    ) -> list[tuple[Job, Room]]:
        """Where `job`, which may not start now, will when some more are ended, who are then in `plans`; and where
        those start again that have to be moved for it besides, who are in `moves`.

        Nothing: it waits like everybody. Jobs of one `shape` fit at the same places; of these `alike` wait that
        have no place yet, `job` included, and share what a large victim frees. The caller keeps the rooms.
        """
        like = (shape, job.spec.priority, job.spec.queue, job.tenant, job.owner)
        if not self.possible or like in self._hopeless or len(self._hopeless) >= _MOST_TRIES:
            return []
        if job.id in self._unsettled and self._about_to_show(job.id):
            return []
        victims = self._candidates(job, alike)
        gone = self._shared.get(like, ())
        trial = self._trial(job, pool, kept) if victims or gone else None
        if trial is None or trial.fits(spec):  # what is being ended anyway will do
            if trial is not None and gone:
                return [(job, Room(*trial.fit(spec), _waits_for(gone)))]
            self._hopeless.add(like)
            return []
        choice = choose(spec, trial, victims, lambda gone: self._together(job, gone))
        if choice is not None:
            gone = tuple(one.job for one in choice.victims)
            self._note_ended(job, choice.engine, choice.placements, gone)
            self._shared[like] = gone
            return [(job, Room(choice.engine, choice.placements, _waits_for(gone)))]
        rooms = self._gathered(job, spec, victims, trial, () if kept is None else kept.given)
        if not rooms:
            self._hopeless.add(like)
        return rooms

    def _note_ended(self, job: Job, engine: str, placements: tuple[Placement, ...], gone: tuple[Job, ...]) -> None:
        now, policy = self._snapshot.now, self._snapshot.policy
        self._going += gone
        self.plans.append(Preempt(job, engine, placements, gone, sum(lost(one, now, policy) for one in gone)))

    def _gathered(
        self, job: Job, spec: JobSpec, victims: Sequence[Candidate], trial: Trial, given: Collection[int]
    ) -> list[tuple[Job, Room]]:
        """Let `job` in where as much as it has a right to was borrowed, but strewn over nodes where others stay:
        some of `victims` are ended wherever they are, and who stays is moved into what they leave. The jobs `given`
        make room for a reservation as they end, and are not moved."""
        now, policy = self._snapshot.now, self._snapshot.policy
        most = policy.moves - len(self.movers())
        stay = [one for one in self._may_move(job) if one.id not in given]

        def relief() -> Relief | None:
            if trial.hopeless(spec):
                return None
            left = [one for one in stay if not trial.gone(one)]
            return relieve(trial.field, spec, by_row(trial.field, left), most, lambda one: lost(one, now, policy))

        ended: list[Job] = []
        everybody = [one.job for one in victims]
        borrowed = [one for one in victims if not self._line.together(job, one.job)]
        trial.only([one.job for one in borrowed], everybody)
        if most <= 0 or trial.hopeless(spec):
            return []
        trial.only([], everybody)
        for one in sorted(borrowed, key=lambda one: (one.cost, one.job.id))[:_GATHERED]:
            if not self._line.may_take(job, one.job, [*self._going, *ended]):
                continue
            ended.append(one.job)
            trial.give(one.job)
            if relief() is None:
                continue
            for needless in reversed(ended[:-1]):
                trial.take(needless)
                if relief() is None:
                    trial.give(needless)
            gone = [one for one in ended if trial.gone(one)]
            found = relief()
            rooms = [] if found is None else self._moved(job, spec, found, trial.field.copy(), gone)
            if rooms:
                self._note_ended(job, rooms[0][1].engine, rooms[0][1].placements, tuple(gone))
            return rooms
        return []

    def _may_move(self, job: Job) -> list[Job]:
        """Those that may start again elsewhere so that `job` gets in."""
        going, line = self.going, self._line
        return [
            one for one in self._movable if one.id not in going and line.may_move(job, one) and self._has_run(one)
        ]

    def _trial(self, job: Job, pool: Field, kept: Kept | None) -> Trial:
        """With everybody gone who is being ended."""
        left, given = (None, ()) if kept is None else (kept.left, kept.given)

        def refuses(asked: JobSpec, gone: Collection[Job]) -> bool:
            whole = asked.nodes == job.spec.nodes
            sized = job if whole else replace(job, spec=replace(job.spec, nodes=asked.nodes))
            return self._line.refuses(sized, gone) is not None

        trial = Trial(pool, left, given, refuses)
        for going in self._going:
            trial.give(going)
        return trial

    def cheapest(self, job: Job, spec: JobSpec, pool: Field, *, rested: bool = True) -> Choice | None:
        """Whom to end so that `job` starts, if it was next; with `rested` only who has run for its minimal time.
        Nothing is planned."""
        victims = self._candidates(job, rested=rested)
        return choose(spec, self._trial(job, pool, None), victims, lambda gone: self._together(job, gone))

    def _candidates(self, job: Job, alike: int = 1, *, rested: bool = True) -> list[Candidate]:
        """Who may be ended for `job`, at its part of the cost: one that is as large as several of those `alike`
        makes room for as many of them, which then end nobody else."""
        now, policy, going = self._snapshot.now, self._snapshot.policy, self.going
        asked = size(job) or math.inf
        able = [one for one in self._movable if one.id not in going and self._line.may_take(job, one, self._going)]

        def cost(one: Job) -> float:
            return (lost(one, now, policy) + self._waits(one)) / max(1, min(alike, int(size(one) / asked)))

        return [Candidate(one, cost(one)) for one in able if not rested or self._has_run(one)]

    def _waits(self, victim: Job) -> float:
        """Device-seconds until its next turn: who is last in the order would wait anyway; who is first comes back
        at once, into room that others wait for."""
        if self._standing is None:
            self._standing = self._line.standing(self._movable)
        return size(victim) * self._snapshot.policy.turn * self._standing.get(victim.id, 0.0)

    def _together(self, job: Job, victims: Sequence[Job]) -> bool:
        """Whether they may be taken one after the other: each one more leaves their queue with less."""
        return all(
            self._line.may_take(job, victim, [*self._going, *victims[:at]]) for at, victim in enumerate(victims)
        )

    def _has_run(self, victim: Job) -> bool:
        """Whether it was left alone for as long as it may expect; one that has not begun has not."""
        left = left_alone(victim, self._snapshot)
        if left > 0 and victim.started_at is not None:
            self.wake_at = min(self.wake_at, self._snapshot.now + left)
        return left <= 0

    def begins(self, job: Job, waiting: Iterable[Job]) -> None:
        """Note that `job` starts in this pass while these wait: somebody may displace it as soon as it has run."""
        if not job.spec.preemptible or self._snapshot.policy.preempt is policies.Preempt.NEVER:
            return
        policy, now = self._snapshot.policy, self._snapshot.now
        least = policy.min_runtime if job.spec.min_runtime is None else job.spec.min_runtime
        for other in waiting:
            if other.spec.priority > job.spec.priority or other.spec.queue != job.spec.queue:
                self.wake_at = min(self.wake_at, now + least)
            elif policy.preempt is policies.Preempt.EQUALS and other.spec.priority == job.spec.priority:
                self.wake_at = min(self.wake_at, now + max(least, self._line.turn_of(job)))

    def _ended_for(self, job: Job) -> Sequence[Job]:
        return [going for going in self._going if going.gives_way_to == job.id]


def left_alone(job: Job, snapshot: Snapshot) -> float:
    """Seconds until `job` has run for as long as it may expect; one that has not begun has all of it before it."""
    least = snapshot.policy.min_runtime if job.spec.min_runtime is None else job.spec.min_runtime
    since = snapshot.now if job.started_at is None else job.started_at
    return max(0.0, since + least - snapshot.now)


def _largest_first(job: Job) -> tuple[float, int]:
    return -size(job), job.id


def _movable(job: Job) -> bool:
    return job.spec.preemptible and job.state in (JobState.RUNNING, JobState.STARTING) and not job.cancel_requested


def _claims(snapshot: Snapshot) -> frozenset[int]:
    """Jobs for which others are being ended, or have ended and not begun again; not those that have had that room,
    and wait again since. And those that only move."""
    claims = {job.gives_way_to for job in snapshot.active}
    claims |= {job.id for job in snapshot.pending if job.moves}
    never = -math.inf
    for job in snapshot.pending:
        if job.gives_way_to is not None and snapshot.since.get(job.gives_way_to, never) <= snapshot.since.get(
            job.id, math.inf
        ):
            claims.add(job.gives_way_to)
    return frozenset(job_id for job_id in claims if job_id is not None)


def _went(snapshot: Snapshot) -> dict[int, set[int]]:
    """By the job that they went for, those that are being ended, or have ended and not begun again."""
    found: dict[int, set[int]] = defaultdict(set)
    going = (job for job in snapshot.active if job.state is JobState.STOPPING)
    for job in (*going, *snapshot.pending):
        if job.gives_way_to is not None:
            found[job.gives_way_to].add(job.id)
    return found


def _waits_for(victims: Sequence[Job]) -> Wait:
    names = ", ".join(victim.label for victim in victims[:_NAMED])
    more = f" and {len(victims) - _NAMED} more" if len(victims) > _NAMED else ""
    what = f"job{'s' if len(victims) > 1 else ''} {names}{more}" if victims else "what is being ended"
    values = {"giving_way": f"{names}{more}"}
    return Wait("Resources", f"its room is being made: waits for {what} to end", values)
