"""Victims: the cheapest set of running jobs without which a waiting job gets in as a whole.

What a victim costs is the work that is lost with it, in device-seconds: what it did since it last saved itself,
and what it takes to start again. A set is only taken when all of the job fits without it (all nodes, devices,
topology together), and nobody is in it who could have stayed: after choosing, those not needed are given back,
the dearest first. The choice is greedy by node, as the exact one is a set cover: on each node the cheapest jobs
without which a part of the gang fits there, then the nodes where these cost least, a job on several nodes once.
The nodes are those of one domain of the network where the gang requires one; the domains are tried one after the
other, the cheapest first, as the rights to take jobs back may do for one and not for another.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from stoker.cluster import WHOLE, Place
from stoker.job import Job, JobSpec, Placement
from stoker.schedule.levels import UNKNOWN
from stoker.schedule.policy import Policy
from stoker.schedule.trial import Trial
from stoker.units import format_duration

_CPUS_PER_DEVICE = 64.0  # so many CPUs of a job without devices count as one
_LOOKED_AT = 64  # nodes that are looked at closely, at least; those that seem cheapest
_PER_PART = 4  # and for each node of the gang
_DOMAINS = 8  # in which a gang that requires one is tried


@dataclass(frozen=True)
class Candidate:
    job: Job
    cost: float  # device-seconds that are lost with it


@dataclass(frozen=True)
class Choice:
    victims: tuple[Candidate, ...]
    engine: str
    placements: tuple[Placement, ...]

    @property
    def cost(self) -> float:
        return sum(victim.cost for victim in self.victims)


Allowed = Callable[[Sequence[Job]], bool]  # whether all of these may be ended together


def size(job: Job) -> float:
    """Devices that `job` holds; CPUs count where it has none."""
    need, nodes = job.spec.resources, len(job.placements) or job.spec.nodes
    return nodes * (need.accelerators * need.milli / WHOLE or need.cpus / _CPUS_PER_DEVICE)


def unsaved(job: Job, now: float, policy: Policy) -> float:
    """Seconds of work that would be lost if `job` were ended now."""
    if job.started_at is None or job.spec.checkpoint_signal:  # it saves itself when it is told to
        return 0.0
    age = max(0.0, now - job.started_at)
    if job.checkpointed_at is not None:
        return max(0.0, min(age, now - job.checkpointed_at))
    if job.spec.checkpoint_every is not None:
        again = policy.restart if job.attempt > 1 else 0.0  # until it goes on where it was, and saves itself
        return max(0.0, age - again) % job.spec.checkpoint_every
    return min(age, policy.checkpoint_every)


class Loss(StrEnum):
    """What `unsaved` rests on."""

    NOTHING = "nothing"  # it is told to save itself
    SAVED = "saved"  # it told when it last did
    REGULAR = "regular"  # it says how often it does
    UNTOLD = "untold"  # nothing tells of a checkpoint


def loss(job: Job, now: float, policy: Policy) -> tuple[Loss, float]:
    """What `unsaved` rests on, and its seconds."""
    if job.started_at is None or job.spec.checkpoint_signal:
        return Loss.NOTHING, 0.0
    lost_s = unsaved(job, now, policy)
    if job.checkpointed_at is not None:
        return Loss.SAVED, lost_s
    return Loss.UNTOLD if job.spec.checkpoint_every is None else Loss.REGULAR, lost_s


def loses(job: Job, now: float, policy: Policy) -> str:
    """`loss` for people: ``loses 4 min of work, since it last saved itself``."""
    rests_on, lost_s = loss(job, now, policy)
    span = format_duration(lost_s)
    match rests_on:
        case Loss.NOTHING:
            return "loses nothing: it is told to save itself"
        case Loss.SAVED:
            return f"loses {span} of work, since it last saved itself"
        case Loss.REGULAR:
            every = format_duration(job.spec.checkpoint_every or 0.0)
            return f"loses {span} of work, if it saves itself every {every}"
        case Loss.UNTOLD:
            return f"loses {span} of work: nothing tells of a checkpoint"


def lost(job: Job, now: float, policy: Policy) -> float:
    """Device-seconds that ending `job` costs."""
    return size(job) * (unsaved(job, now, policy) + policy.restart + job.spec.warning)


def choose(
    spec: JobSpec, trial: Trial, candidates: Sequence[Candidate], allowed: Allowed = lambda _victims: True
) -> Choice | None:
    """Whom to end so that `spec` fits; None when it would not even if all candidates were gone."""
    everybody = [one.job for one in candidates]
    trial.only(everybody, everybody)
    if not trial.fits(spec):
        return None
    gangs = _by_node(spec, trial, candidates, allowed)
    for tried in (*gangs, _touched(trial, spec, candidates), candidates):
        trial.only([one.job for one in tried], everybody)
        if tried and trial.fits(spec):
            needed = _without_needless(spec, trial, tried)
            if allowed([one.job for one in needed]):
                return Choice(tuple(needed), *trial.fit(spec))
    return None


def _without_needless(spec: JobSpec, trial: Trial, victims: Sequence[Candidate]) -> list[Candidate]:
    """Those of `victims`, all gone in `trial`, who are needed; the dearest are the first to stay."""
    needed = sorted(victims, key=_dearest)
    for one in list(needed):
        trial.take(one.job)
        if trial.fits(spec):
            needed.remove(one)
        else:
            trial.give(one.job)
    return sorted(needed, key=lambda one: one.job.id)


def _touched(trial: Trial, spec: JobSpec, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
    """Who is where the job would go if all candidates were gone."""
    trial.only([one.job for one in candidates], [one.job for one in candidates])
    engine, placements = trial.fit(spec)
    rows = {trial.layout.row[Place(engine, placement.node)] for placement in placements}
    return [one for one in candidates if rows & trial.rows(one.job)]


# by node


def _by_node(
    spec: JobSpec, trial: Trial, candidates: Sequence[Candidate], allowed: Allowed
) -> list[Sequence[Candidate]]:
    """By domain the victims on the nodes where they cost least together, the cheapest first; none of a domain that
    has not nodes enough. All candidates are gone before and after."""
    here: dict[int, list[Candidate]] = defaultdict(list)
    for one in candidates:
        for row in trial.rows(one.job):
            here[row].append(one)
    fitting = [trial.layout.row[node.place] for node in trial.field.fitting(spec)]
    guesses = {row: _guess(spec, trial, row, here[row]) if row in here else 0.0 for row in fitting}
    domains = _likeliest(_by_domain(spec, trial, guesses), spec.nodes)
    closely = max(_LOOKED_AT, _PER_PART * spec.nodes) // max(1, len(domains))
    gangs = []
    for rows in domains:
        held = [row for row in rows if row in here][: max(2 * spec.nodes, closely)]
        needed = {row: _least(spec, trial, row, here[row]) for row in held}
        needed |= {row: [] for row in rows if row not in here}
        if gang := _gang(spec.nodes, needed, allowed):
            gangs.append(gang)
    return sorted(gangs, key=_total)


def _by_domain(spec: JobSpec, trial: Trial, guesses: Mapping[int, float]) -> list[list[tuple[float, int]]]:
    """Its rows, the cheapest first, apart by what all of it has to be in: one engine, and one domain where it asks
    for that."""
    layout = trial.layout
    level = layout.levels.told(spec.topology.required) if spec.nodes > 1 else None
    ids = None if level is None else layout.levels.domains[level]
    found: dict[tuple[str, int], list[tuple[float, int]]] = defaultdict(list)
    for row, guess in guesses.items():
        domain = 0 if ids is None else int(ids[row])
        if domain != UNKNOWN:
            found[layout.nodes[row].engine, domain].append((guess, row))
    return [sorted(rows) for rows in found.values() if len(rows) >= spec.nodes]


def _likeliest(domains: Sequence[list[tuple[float, int]]], count: int) -> list[list[int]]:
    """Those in which `count` nodes seem to cost least."""
    ranked = sorted(domains, key=lambda rows: (sum(guess for guess, _ in rows[:count]), rows[0][1]))
    return [[row for _, row in rows] for rows in ranked[:_DOMAINS]]


def _gang(count: int, needed: Mapping[int, Sequence[Candidate]], allowed: Allowed) -> Sequence[Candidate]:
    """Who is gone when `count` nodes are taken one after the other, each where that adds least and is allowed."""
    gone: dict[int, Candidate] = {}
    left = dict(needed)

    def adds(row: int) -> tuple[float, int]:
        return _total(one for one in left[row] if one.job.id not in gone), row

    def may(row: int) -> bool:
        more = {one.job.id: one for one in left[row]}
        return more.keys() <= gone.keys() or allowed([one.job for _, one in sorted((gone | more).items())])

    for _ in range(count):
        row = next((row for row in sorted(left, key=adds) if may(row)), None)
        if row is None:
            return ()
        gone.update((one.job.id, one) for one in left.pop(row))
    return list(gone.values())


def _least(spec: JobSpec, trial: Trial, row: int, here: Sequence[Candidate]) -> Sequence[Candidate]:
    """Those on one node without whom a part of the job fits there; all candidates are gone before and after."""
    needed = sorted(here, key=_dearest)
    for one in list(needed):
        trial.take(one.job)
        if trial.fits_at(row, spec):
            needed.remove(one)
        else:
            trial.give(one.job)
    for one in here:
        trial.give(one.job)
    return needed


def _guess(spec: JobSpec, trial: Trial, row: int, here: Sequence[Candidate]) -> float:
    """About what a part of the job costs on a node: only to know where to look closely."""
    missing = spec.resources.accelerators or spec.resources.cpus / _CPUS_PER_DEVICE
    held = sum(size(one.job) / max(1, len(one.job.placements)) for one in here)
    free = float(trial.field.free[row].clip(0).sum()) / WHOLE - held
    total, missing = 0.0, missing - max(0.0, free)
    for one in sorted(here, key=lambda one: one.cost):
        if missing <= 0:
            break
        missing -= size(one.job) / max(1, len(one.job.placements))
        total += one.cost
    return total


def _dearest(one: Candidate) -> tuple[float, int]:
    """Dearest first; of equals the one that came first stays."""
    return -one.cost, one.job.id


def _total(victims: Iterable[Candidate]) -> float:
    return sum(one.cost for one in victims)
