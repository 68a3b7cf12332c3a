"""The scheduling decision: priority, then first come first served, with backfill that cannot starve the first.

The first job that has to wait gets a reservation (EASY backfill; Lifka 1995): the earliest moment it fits when the
running jobs end at their time limits, those without one last. A job behind it may start only where it is sure not
to push that moment back: it ends before it, or it fits into what the reservation leaves over.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

from stoker.job import Job, JobSpec, JobState, Placement, Resources
from stoker.schedule.alike import Alike
from stoker.schedule.dependencies import Answer, held
from stoker.schedule.elastic import largest, least
from stoker.schedule.field import Field, away_from_here
from stoker.schedule.line import Line
from stoker.schedule.policy import Backfill
from stoker.schedule.pool import Pool
from stoker.schedule.preemption import Kept, Preemption, Room
from stoker.schedule.snapshot import Plan, Reserved, Snapshot, Start, Wait
from stoker.topology import Topology

# What decides where a job fits: what it asks for, where it may go, and whether it outlasts the reservation's start.
_Shape = tuple[Resources, int, bool, str, tuple[str, ...], tuple[str, ...], Topology, bool, bool]


@dataclass(frozen=True)
class _Reservation:
    """The first waiting job's place: from when at the latest, and what it leaves over by node."""

    at: float  # seconds since the epoch; infinite when it hangs on a job without a time limit: nothing passes it
    engine: str
    placements: tuple[Placement, ...]
    given: frozenset[int]  # jobs that have ended by then
    left: Field  # what is free then
    pool: Field  # what is free now

    @cached_property
    def both(self) -> Field:
        """What is free now and then: for jobs that outlast its beginning. It has to be told of what is taken."""
        return self.pool.meet(self.left)

    def took(self, engine: str, placements: tuple[Placement, ...]) -> None:
        """Note that what is free now, or then, has changed there."""
        if "both" in vars(self):
            self.both.least_of(self.pool, self.left, self.pool.rows(engine, placements))


@dataclass
class _Pass:
    """What one decision knows so far."""

    snapshot: Snapshot
    pool: Field
    line: Line
    in_array: Counter[int]
    preemption: Preemption
    alike: Alike = field(default_factory=lambda: Alike(()))
    starts: list[Start] = field(default_factory=list)
    coming: list[Start] = field(default_factory=list)  # those that start when others have been ended for them
    fails: dict[int, Wait] = field(default_factory=dict)
    waits: dict[int, Wait] = field(default_factory=dict)
    reserved: dict[int, Reserved] = field(default_factory=dict)
    reservation: _Reservation | None = None
    # Room only shrinks in a pass: shapes that did not fit, or could not even alone, need no second look.
    unfitting: set[_Shape] = field(default_factory=set)
    impossible: set[_Shape] = field(default_factory=set)


def decide(snapshot: Snapshot, kept: Pool | None = None) -> Plan:
    """The same snapshot gives the same plan. `kept` from pass to pass, a pool makes the next one quick."""
    nodes = [node for node in snapshot.nodes if node.engine not in snapshot.away]
    line = Line(snapshot)
    state = _Pass(
        snapshot,
        (kept or Pool()).at(
            nodes, snapshot.active, snapshot.others, snapshot.mix, snapshot.speeds, snapshot.policy
        ),
        line,
        Counter(job.array_id for job in snapshot.active if job.array_id is not None),
        Preemption(snapshot, line),
    )
    ready = [job for job in snapshot.pending if _ready(job, state)]
    state.alike = Alike(ready)
    claimed = _claimed(ready, state)
    for mover in state.preemption.movers():
        if (room := state.preemption.coming(mover, line.narrowed(mover), state.pool)) is not None:
            _kept_for(mover, room, state)
    ahead = len(state.coming)
    for job in line.order([job for job in ready if job.id not in claimed]):
        ahead += not _place(job, state, ahead)
    if state.reservation is None and not state.coming:
        state.preemption.grow(state.pool)
    waiting = [job for job in ready if job.id in state.waits]
    for start in state.starts:
        state.preemption.begins(start.job, waiting)
    later = [job.not_before for job in snapshot.pending if job.not_before and job.not_before > snapshot.now]
    wake_at = min((*later, line.wake_at, state.preemption.wake_at))
    return Plan(
        state.starts,
        state.fails,
        state.waits,
        wake_at if math.isfinite(wake_at) else None,
        state.reserved,
        state.preemption.plans,
        state.preemption.moves,
    )


def _ready(job: Job, state: _Pass) -> bool:
    """Whether only room is missing; else says why it waits or fails."""
    if job.spec.depends:
        answer, wait = held(job, state.snapshot.depended)
        if wait is not None:
            (state.fails if answer is Answer.NEVER else state.waits)[job.id] = wait
            return False
    if job.not_before is not None and job.not_before > state.snapshot.now:
        seconds = job.not_before - state.snapshot.now
        state.waits[job.id] = Wait("BeginTime", f"is tried again in {seconds:.0f} s, after attempt {job.attempt}")
        return False
    return True


def _place(job: Job, state: _Pass, ahead: int) -> bool:
    """Start `job` if it may start now; else note why not."""
    if _array_is_full(job, state):
        state.waits[job.id] = Wait("ArrayTaskLimit", f"{job.spec.array_limit} of its array run already")
        return False
    if _waits_behind(job, state):
        state.waits[job.id] = Wait("Priority", _ahead(max(1, ahead)))
        return False
    asked, job = job, _sized(job, state)
    refused = state.line.refuses(job)
    if refused is not None and not state.preemption.possible:
        state.waits[job.id] = refused
        return False
    spec = state.line.narrowed(job)
    shape = _shape(spec, state)
    if refused is not None:
        state.waits[job.id] = _room_made(job, spec, shape, state) or refused
        return False
    if shape not in state.unfitting:
        engine, placements = _placements(spec, shape, state)
        if placements:
            _start(asked, engine, placements, state)
            return True
        state.unfitting.add(shape)
    state.waits[job.id] = _room_made(job, spec, shape, state) or _why_waits(job, shape, state, ahead)
    return False


def _sized(job: Job, state: _Pass) -> Job:
    """An elastic job as large as it may start now; where it may not, as small as it can do with."""
    if not job.spec.min_nodes:
        return job

    def fits(spec: JobSpec) -> bool:
        one = replace(job, spec=spec)
        narrowed = state.line.narrowed(one)
        return state.line.refuses(one) is None and bool(_placements(narrowed, _shape(narrowed, state), state)[1])

    return replace(job, spec=largest(job.spec, fits) or least(job.spec))


def _array_is_full(job: Job, state: _Pass) -> bool:
    limit = job.spec.array_limit
    return bool(limit) and job.array_id is not None and state.in_array[job.array_id] >= limit


def _claimed(ready: Sequence[Job], state: _Pass) -> set[int]:
    """Start or keep the room of those for whom others were ended, behind that of who is overdue for longest."""
    claimants = state.preemption.claimants(ready)
    if not claimants:
        return set()
    state.reservation = _of_overdue(ready, claimants, state)
    claimed = {job.id for job in claimants if _claim(job, state)}
    state.reservation = None  # its turn comes
    return claimed


def _of_overdue(ready: Sequence[Job], claimants: Sequence[Job], state: _Pass) -> _Reservation | None:
    """The place of the job that has waited longest beyond its queue's patience: now, where it fits already, but no
    earlier than it leaves `claimants` the room that was promised to them behind it."""
    claims = {job.id for job in claimants}
    since = {job.id: state.line.overdue_since(job) for job in ready if job.id not in claims}
    first = min((job for job in ready if job.id in since), key=lambda job: (since[job.id], job.id), default=None)
    if first is None or not math.isfinite(since[first.id]) or state.line.refuses(first) is not None:
        return None

    def leaves_room(kept: _Reservation) -> bool:
        return state.preemption.fit_together(claimants, state.pool, Kept(kept.left, kept.given))

    spec = least(state.line.narrowed(first))
    return _reserve(spec, state, leaves_room) or _reserve(spec, state)


def _claim(job: Job, state: _Pass) -> bool:
    """Start `job`, for which others were ended, or keep its room until they are gone; False: it waits its turn."""
    if _array_is_full(job, state):
        return False
    if _claim_room(job, state):
        return True
    behind, state.reservation = state.reservation, None  # it has to be pushed back: nobody is ended in vain
    return behind is not None and _claim_room(job, state)


def _claim_room(job: Job, state: _Pass) -> bool:
    spec = state.line.narrowed(job)
    now = _sized(job, state)
    if state.line.refuses(now) is None and not _waits_behind(job, state):
        sized = state.line.narrowed(now)
        engine, placements = _placements(sized, _shape(sized, state), state)
        if placements:
            _start(job, engine, placements, state)
            return True
    room = state.preemption.coming(job, spec, state.pool, _behind(state))
    if room is not None:
        state.waits[job.id] = _kept_for(job, room, state)
    return room is not None


def _room_made(job: Job, spec: JobSpec, shape: _Shape, state: _Pass) -> Wait | None:
    """Have others ended so that `job` gets in, where that is allowed and helps; None where not."""
    kept = None if state.snapshot.policy.backfill is Backfill.GREEDY else state.reservation
    behind = None if kept is None else Kept(kept.left, kept.given)
    rooms = state.preemption.room(job, spec, shape, state.pool, behind, state.alike.of(job))
    for one, room in rooms:
        _kept_for(one, room, state)
    return rooms[0][1].wait if rooms else None


def _waits_behind(job: Job, state: _Pass) -> bool:
    """Whether `job`, which was ended for another, starts only with or after that one."""
    if job.gives_way_to is None:
        return False
    return state.preemption.waits_behind(job, {start.job.id for start in state.coming})


def _behind(state: _Pass) -> Kept | None:
    """What may not be pushed back."""
    kept = None if state.snapshot.policy.backfill is Backfill.GREEDY else state.reservation
    return None if kept is None else Kept(kept.left, kept.given)


def _kept_for(job: Job, room: Room, state: _Pass) -> Wait:
    """Its room counts as held by `job` too, while others still hold it: so nobody gets in between."""
    _take(job, room.engine, room.placements, state)
    state.coming.append(Start(job, room.engine, room.placements))
    return room.wait


def _shape(spec: JobSpec, state: _Pass) -> _Shape:
    outlasts = _outlasts(spec, state)
    elsewhere = away_from_here(spec)
    return (
        spec.resources, spec.nodes, spec.exclusive, spec.engine, spec.sites, spec.tolerations, spec.topology,
        elsewhere, outlasts,
    )  # fmt: skip


def _placements(spec: JobSpec, shape: _Shape, state: _Pass) -> tuple[str, tuple[Placement, ...]]:
    outlasts = shape[-1]
    if state.reservation is not None and state.snapshot.policy.backfill is Backfill.NONE:
        return "", ()
    field = state.reservation.both if state.reservation is not None and outlasts else state.pool
    return field.fit(spec) if field.fits(spec) else ("", ())


def _outlasts(spec: JobSpec, state: _Pass) -> bool:
    """Whether a job started now may still hold something when the reservation begins."""
    if state.reservation is None or state.snapshot.policy.backfill is Backfill.GREEDY:
        return False  # there is none to respect
    if spec.time_limit is None or not math.isfinite(state.reservation.at):
        return True
    return state.snapshot.now + spec.time_limit + spec.grace > state.reservation.at


def _start(job: Job, engine: str, placements: tuple[Placement, ...], state: _Pass) -> None:
    _take(job, engine, placements, state)
    state.preemption.started(job)
    state.starts.append(Start(job, engine, placements))


def _take(job: Job, engine: str, placements: tuple[Placement, ...], state: _Pass) -> None:
    spec = job.spec
    state.line.started(job, engine, placements)
    state.alike.placed(job)
    state.pool.take(spec, engine, placements)
    if state.reservation is not None:
        if _outlasts(spec, state):
            state.reservation.left.take(spec, engine, placements)
        state.reservation.took(engine, placements)
    if job.array_id is not None:
        state.in_array[job.array_id] += 1


def _why_waits(job: Job, shape: _Shape, state: _Pass, ahead: int) -> Wait:
    spec = job.spec
    if state.snapshot.away and (spec.engine in state.snapshot.away or not state.pool.layout.nodes):
        why = state.snapshot.away.get(spec.engine) or next(iter(state.snapshot.away.values()))
        return Wait("EngineAway", why)
    if state.reservation is not None:
        return Wait("Priority", _ahead(ahead))
    if shape not in state.impossible:
        state.reservation = _reserve(spec, state)
        if state.reservation is not None:
            kept = state.reservation
            if (moving := _others_moved(job, kept.at, state)) is not None:
                return moving
            state.reserved[job.id] = Reserved(kept.at, kept.engine, kept.placements)
            state.line.reserved(job, kept.at)
    if state.reservation is None:
        state.impossible.add(shape)
        return Wait("ReqNodeNotAvail", f"no node offers {_asked(spec)} at present")
    return Wait("Resources", f"first in line; needs {_asked(spec)}, more than is free")


def _ahead(count: int) -> str:
    return f"{count} job{'s' if count > 1 else ''} ahead"


def _others_moved(job: Job, until: float, state: _Pass) -> Wait | None:
    """Let `job` in by moving running work together, where that is worth it; None where not."""
    if not state.preemption.possible:
        return None
    rooms = state.preemption.relieve(job, state.line.narrowed(job), state.pool, until)
    if not rooms:
        return None
    state.reservation = None  # it does not wait for it any more
    for one, room in rooms:
        _kept_for(one, room, state)
    return rooms[0][1].wait


def _reserve(
    spec: JobSpec, state: _Pass, suits: Callable[[_Reservation], bool] | None = None
) -> _Reservation | None:
    """When and where `spec` fits at the latest, giving back what runs in the order of its end, the first time that
    `suits`; None: never.

    More given back never makes it fit less, so the moment is found by halving, from the least that may do on.
    """
    ends, left = _ends(state), state.pool.copy()
    given = 0

    def fits_after(count: int) -> bool:
        nonlocal given
        for end in ends[given:count]:
            left.give(end.spec, end.engine, end.placements)
        for end in ends[count:given]:
            left.take(end.spec, end.engine, end.placements)
        given = count
        return left.fits(spec)

    def reserved_after(count: int) -> _Reservation | None:
        if count > len(ends) or not fits_after(count):
            return None
        where, found = left.fit(spec)
        over = left if suits is None else left.copy()  # `left` is not asked again
        over.take(spec, where, found)
        at = ends[count - 1].at if count else state.snapshot.now
        gone = frozenset(end.job for end in ends[:count])
        return _Reservation(at, where, found, gone, over, state.pool)

    def suited(count: int) -> bool:
        kept = reserved_after(count)
        return kept is not None and suits is not None and suits(kept)

    first = _first(_least(left.missing(spec), ends), len(ends), fits_after)
    if suits is not None and not suited(first):
        first = _first(first + 1, len(ends), suited)
    return reserved_after(first)


def _first(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """The first from `low` to `high` for which it `holds`, and then for all after it; beyond `high`: none. It is
    likely to be near `low`."""
    step = 1
    while low + step - 1 <= high and not holds(low + step - 1):
        low, step = low + step, 2 * step
    return bisect_left(range(high + 1), True, low, min(low + step - 1, high + 1), key=holds)


def _least(missing: int, ends: Sequence[_End]) -> int:
    """How many of `ends` it takes at least until so many more thousandths are free; one too many: never."""
    for count, end in enumerate(ends):
        if missing <= 0 or end.spec.exclusive:  # that gives back more than it asked for
            return count
        need = end.spec.resources
        missing -= len(end.placements) * need.accelerators * need.milli
    return len(ends) if missing <= 0 else len(ends) + 1


class _End(NamedTuple):
    at: float  # seconds since the epoch; at the latest
    job: int
    spec: JobSpec
    engine: str
    placements: Sequence[Placement]


def _ends(state: _Pass) -> list[_End]:
    """What is held where, by the moment it is given back at the latest. Nobody knows it of what others run."""
    now = state.snapshot.now
    going = state.preemption.going
    held_now = []
    for job in state.snapshot.active:
        limit = (job.started_at or now) + (job.spec.time_limit or math.inf) + job.spec.grace
        end = min(limit, _gone_at(job, state)) if job.id in going else limit
        held_now.append(_End(end, job.id, job.spec, job.engine, job.placements))
    begins = [(now, start) for start in state.starts] + [
        (_begins_at(start, state), start) for start in state.coming
    ]
    for at, start in begins:
        end = at + (start.job.spec.time_limit or math.inf) + start.job.spec.grace
        held_now.append(_End(end, start.job.id, start.job.spec, start.engine, start.placements))
    held_now.sort(key=lambda end: end.at)
    return held_now


def _gone_at(job: Job, state: _Pass) -> float:
    """When `job`, which is being ended, has gone at the latest. An engine that takes longer is waited for."""
    now = state.snapshot.now
    asked = state.snapshot.since.get(job.id, now) if job.state is JobState.STOPPING else now
    return max(now, asked + job.spec.warning + job.spec.grace)


def _begins_at(start: Start, state: _Pass) -> float:
    """When `start`, which is coming, is carried out at the latest: when those who are being ended have left its
    room."""
    going = state.preemption.going
    rows = set(state.pool.rows(start.engine, start.placements))
    before = (job for job in state.snapshot.active if job.id in going)
    leave = (
        _gone_at(job, state) for job in before if rows.intersection(state.pool.rows(job.engine, job.placements))
    )
    return max(leave, default=state.snapshot.now)


def _asked(spec: JobSpec) -> str:
    need = spec.resources
    parts = [f"{need.cpus} CPU{'s' if need.cpus != 1 else ''}"] if need.cpus else []
    if need.accelerators:
        share = "" if need.milli == 1000 else f" ({need.milli}/1000 of each)"
        parts.insert(0, f"{need.accelerators} × {' or '.join(need.models) or 'device'}{share}")
    where = f" on each of {spec.nodes} nodes" if spec.nodes > 1 else ""
    return " and ".join(parts or ["memory"]) + where
