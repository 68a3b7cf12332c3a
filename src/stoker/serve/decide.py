"""Decide what an endpoint needs next. Snapshot in, actions out; asking again after a crash is safe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from stoker.endpoint import Endpoint, Replica, ReplicaState
from stoker.job import Job, JobState

DRAIN_S = 30.0  # a draining replica is stopped after so long, once it has finished its answers
LONGEST_DRAIN_S = 900.0  # and after so long whatever it does
BACKOFF_S = 30.0  # a replica that failed at once is replaced after so long
SHORT_LIFE_S = 60.0
_ALIVE = (ReplicaState.STARTING, ReplicaState.READY, ReplicaState.WAKING)
_LISTENING = (ReplicaState.READY, ReplicaState.ASLEEP, ReplicaState.WAKING)


@dataclass(frozen=True)
class Snapshot:
    endpoint: Endpoint
    jobs: Mapping[int, Job]
    urls: Mapping[int, str] = field(default_factory=dict)  # job -> where its present attempt listens
    errors: Mapping[int, str] = field(default_factory=dict)  # job -> what it said went wrong
    busy: frozenset[int] = frozenset()  # jobs of replicas that are answering somebody
    sleepers: frozenset[int] = frozenset()  # jobs of replicas whose devices may be lent while they sleep
    now: float = 0.0


@dataclass(frozen=True)
class Start:
    version: int


@dataclass(frozen=True)
class Ready:
    job: int
    attempt: int
    url: str


@dataclass(frozen=True)
class Unready:
    """Its process has ended or is being ended: no requests until its job listens anew."""

    job: int


@dataclass(frozen=True)
class Drain:
    job: int


@dataclass(frozen=True)
class Sleep:
    """Let it sleep; where it cannot, stop it."""

    job: int


@dataclass(frozen=True)
class Wake:
    """From now on it wants its devices back."""

    job: int


@dataclass(frozen=True)
class Rouse:
    """Get its devices back, then tell its engine; where it cannot be, stop it."""

    job: int


@dataclass(frozen=True)
class Stop:
    job: int


@dataclass(frozen=True)
class Failed:
    job: int
    message: str


@dataclass(frozen=True)
class Forget:
    job: int


@dataclass(frozen=True)
class Switch:
    """The candidate answers from now on."""

    version: int


@dataclass(frozen=True)
class GiveUpCandidate:
    version: int
    message: str


Action = Start | Ready | Unready | Drain | Sleep | Wake | Rouse | Stop | Failed | Forget | Switch | GiveUpCandidate


def decide(snapshot: Snapshot) -> tuple[Action, ...]:
    endpoint = snapshot.endpoint
    actions = [action for replica in endpoint.replicas for action in _follow(replica, snapshot)]
    actions += _candidate(snapshot)
    given_up = {action.version for action in actions if isinstance(action, GiveUpCandidate)}
    for version, wanted in _wanted(endpoint).items():
        if version not in given_up:
            actions += _scale(version, wanted, snapshot)
    return tuple(actions)


def _wanted(endpoint: Endpoint) -> dict[int, int]:
    """Replicas by version; the candidate comes up beside what answers now."""
    wanted: dict[int, int] = {}
    if endpoint.candidate is not None:
        wanted[endpoint.candidate] = max(1, endpoint.wanted if endpoint.switch else 1)
    if endpoint.version is not None:  # it may be a candidate again, where it had no replica left
        wanted[endpoint.version] = max(endpoint.wanted, wanted.get(endpoint.version, 0))
    return wanted


def _follow(replica: Replica, snapshot: Snapshot) -> Iterator[Action]:
    job = snapshot.jobs.get(replica.job)
    if job is None or job.state.final:
        yield from _ended(replica, job, snapshot)
    elif replica.state is ReplicaState.DRAINING:
        if _drained(replica, snapshot):
            yield from [Sleep(job.id)] if _may_sleep(replica, snapshot) else _stop(job)
    elif replica.version not in _wanted(snapshot.endpoint):
        if replica.state is ReplicaState.READY:
            yield Drain(replica.job)
        else:
            yield from _stop(job)
    elif replica.state in _LISTENING and not _lives(replica, job):
        yield Unready(replica.job)
    elif replica.state is ReplicaState.WAKING:
        yield Rouse(replica.job)
    elif replica.state is ReplicaState.STARTING and job.state is JobState.RUNNING and replica.job in snapshot.urls:
        yield Ready(replica.job, job.attempt, snapshot.urls[replica.job])


def _may_sleep(replica: Replica, snapshot: Snapshot) -> bool:
    """Whether there is a bed left for it: of those that are about to sleep the first ones get one."""
    endpoint = snapshot.endpoint
    if replica.version != endpoint.version or replica.job not in snapshot.sleepers:
        return False
    in_bed = [one for one in endpoint.replicas if one.state in (ReplicaState.ASLEEP, ReplicaState.WAKING)]
    before = [one for one in endpoint.replicas if one.state is ReplicaState.DRAINING and one.since < replica.since]
    return len(in_bed) + len(before) < endpoint.scaling.sleep


def _drained(replica: Replica, snapshot: Snapshot) -> bool:
    patience = DRAIN_S if replica.job not in snapshot.busy else LONGEST_DRAIN_S
    return snapshot.now - replica.since >= patience


def _stop(job: Job) -> Iterator[Stop]:
    if not job.cancel_requested:  # once: each asking wakes everybody who waits for a change
        yield Stop(job.id)


def _lives(replica: Replica, job: Job) -> bool:
    """Whether the process that said it listens is still there: its port may be somebody else's by now."""
    return job.attempt == replica.attempt and job.state is JobState.RUNNING


def _ended(replica: Replica, job: Job | None, snapshot: Snapshot) -> Iterator[Action]:
    unwanted = replica.version not in _wanted(snapshot.endpoint)
    if unwanted or job is None or replica.state is ReplicaState.DRAINING:
        yield Forget(replica.job)
    elif replica.state is not ReplicaState.FAILED:
        yield Failed(replica.job, _why(job, snapshot))


def _why(job: Job, snapshot: Snapshot) -> str:
    told = snapshot.errors.get(job.id) or job.message or str(job.state)
    return f"replica (job {job.id}) ended: {told}"


def _candidate(snapshot: Snapshot) -> Iterator[Action]:
    endpoint = snapshot.endpoint
    if endpoint.candidate is None:
        return
    replicas = [replica for replica in endpoint.replicas if replica.version == endpoint.candidate]
    if endpoint.switch and any(replica.state is ReplicaState.READY for replica in replicas):
        yield Switch(endpoint.candidate)
        return
    for replica in replicas:
        job = snapshot.jobs.get(replica.job)
        if job is not None and job.state.final and endpoint.candidate != endpoint.version:
            yield GiveUpCandidate(endpoint.candidate, _why(job, snapshot))
            return


def _scale(version: int, wanted: int, snapshot: Snapshot) -> Iterator[Action]:
    mine = [replica for replica in snapshot.endpoint.replicas if replica.version == version]
    failed = [replica for replica in mine if replica.state is ReplicaState.FAILED]
    alive = [replica for replica in mine if replica.state in _ALIVE and not _ended_now(replica, snapshot)]
    for replica in alive[wanted:]:
        if replica.state is not ReplicaState.WAKING:  # once it is awake it can be let go
            yield Drain(replica.job)
    if any(_too_soon(replica, snapshot) for replica in mine if _ended_now(replica, snapshot)):
        return
    yield from (Forget(replica.job) for replica in failed)
    back = [replica for replica in mine if _can_come_back(replica, snapshot)][: max(0, wanted - len(alive))]
    yield from (Ready(replica.job, replica.attempt, replica.url) for replica in back)
    missing = wanted - len(alive) - len(back)
    asleep = [one for one in mine if one.state is ReplicaState.ASLEEP and not _ended_now(one, snapshot)]
    asleep = asleep[: max(0, missing)]
    yield from (Wake(replica.job) for replica in asleep)
    yield from (Start(version) for _ in range(missing - len(asleep)))


def _can_come_back(replica: Replica, snapshot: Snapshot) -> bool:
    """One that was let go a moment ago is quicker back than another is started."""
    job = snapshot.jobs.get(replica.job)
    leaving = replica.state is ReplicaState.DRAINING and not _drained(replica, snapshot)
    return leaving and bool(replica.url) and job is not None and not job.cancel_requested and _lives(replica, job)


def _ended_now(replica: Replica, snapshot: Snapshot) -> bool:
    job = snapshot.jobs.get(replica.job)
    return job is None or job.state.final


def _too_soon(replica: Replica, snapshot: Snapshot) -> bool:
    """A replica that died young is not replaced at once: it would most likely die again."""
    job = snapshot.jobs.get(replica.job)
    if job is None or job.ended_at is None:
        return False
    lived = job.ended_at - (job.started_at or job.ended_at)
    return lived < SHORT_LIFE_S and snapshot.now - job.ended_at < BACKOFF_S
