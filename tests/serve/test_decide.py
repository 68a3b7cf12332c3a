from __future__ import annotations

from dataclasses import replace

from stoker.endpoint import Endpoint, Replica, ReplicaState, Scaling
from stoker.job import Job, JobKind, JobSpec, JobState
from stoker.serve.decide import (
    BACKOFF_S,
    DRAIN_S,
    LONGEST_DRAIN_S,
    Drain,
    Failed,
    Forget,
    GiveUpCandidate,
    Ready,
    Rouse,
    Sleep,
    Snapshot,
    Start,
    Stop,
    Switch,
    Unready,
    Wake,
    decide,
)

EMPTY = Endpoint("support", "default", "ann", version=None, wanted=1, created_at=0.0)


def job(number: int, state: JobState = JobState.RUNNING, **changes: object) -> Job:
    spec = JobSpec(command=("serve",), kind=JobKind.SERVICE)
    plain = Job(number, spec, "default", "ann", state, 0.0, started_at=0.0, attempt=1)
    return replace(plain, **changes)  # type: ignore[arg-type]


def replica(number: int, version: int, state: ReplicaState = ReplicaState.READY, since: float = 0.0) -> Replica:
    return Replica(number, version, state, attempt=1, url=f"http://127.0.0.1:{number}", since=since)


def test_a_candidate_comes_up_beside_what_answers() -> None:
    endpoint = replace(EMPTY, version=1, candidate=2, replicas=(replica(1, 1),))
    assert decide(Snapshot(endpoint, {1: job(1)})) == (Start(2),)


def test_a_replica_is_ready_when_its_present_attempt_says_so() -> None:
    endpoint = replace(EMPTY, version=1, replicas=(replica(1, 1, ReplicaState.STARTING),))
    assert decide(Snapshot(endpoint, {1: job(1)})) == ()
    assert decide(Snapshot(endpoint, {1: job(1)}, {1: "http://h"})) == (Ready(1, 1, "http://h"),)


def test_a_job_that_was_started_again_is_not_ready() -> None:
    endpoint = replace(EMPTY, version=1, replicas=(replica(1, 1),))
    assert decide(Snapshot(endpoint, {1: job(1, attempt=2)})) == (Unready(1),)


def test_a_switching_candidate_takes_over_when_ready_and_not_before() -> None:
    endpoint = replace(EMPTY, version=1, candidate=2, switch=True)
    coming = replace(endpoint, replicas=(replica(1, 1), replica(2, 2, ReplicaState.STARTING)))
    assert decide(Snapshot(coming, {1: job(1), 2: job(2)})) == ()
    ready = replace(endpoint, replicas=(replica(1, 1), replica(2, 2)))
    assert decide(Snapshot(ready, {1: job(1), 2: job(2)})) == (Switch(2),)


def test_an_unverified_candidate_waits_although_it_is_ready() -> None:
    endpoint = replace(EMPTY, version=1, candidate=2, replicas=(replica(1, 1), replica(2, 2)))
    assert decide(Snapshot(endpoint, {1: job(1), 2: job(2)})) == ()


def test_the_old_version_drains_before_it_is_stopped() -> None:
    switched = replace(EMPTY, version=2, replicas=(replica(1, 1), replica(2, 2)))
    jobs = {1: job(1), 2: job(2)}
    assert decide(Snapshot(switched, jobs)) == (Drain(1),)
    draining = replace(switched, replicas=(replica(1, 1, ReplicaState.DRAINING, since=100.0), replica(2, 2)))
    assert decide(Snapshot(draining, jobs, now=100.0 + DRAIN_S - 1)) == ()
    busy = frozenset({1})
    assert decide(Snapshot(draining, jobs, busy=busy, now=100.0 + DRAIN_S)) == ()  # it is answering somebody
    assert decide(Snapshot(draining, jobs, busy=busy, now=100.0 + LONGEST_DRAIN_S)) == (Stop(1),)
    assert decide(Snapshot(draining, jobs, now=100.0 + DRAIN_S)) == (Stop(1),)


def test_a_candidate_that_dies_is_given_up_and_the_old_version_stays() -> None:
    endpoint = replace(
        EMPTY, version=1, candidate=2, replicas=(replica(1, 1), replica(2, 2, ReplicaState.STARTING))
    )
    dead = job(2, JobState.FAILED, ended_at=1.0)
    actions = decide(Snapshot(endpoint, {1: job(1), 2: dead}, errors={2: "cannot load"}, now=1000.0))
    assert Failed(2, "replica (job 2) ended: cannot load") in actions
    assert GiveUpCandidate(2, "replica (job 2) ended: cannot load") in actions
    assert not any(isinstance(action, Drain | Stop | Start) for action in actions)


def test_a_replica_that_died_young_is_replaced_after_a_pause() -> None:
    failed = replica(1, 1, ReplicaState.FAILED)
    endpoint = replace(EMPTY, version=1, replicas=(failed,))
    dead = job(1, JobState.FAILED, ended_at=10.0)
    assert decide(Snapshot(endpoint, {1: dead}, now=11.0)) == ()
    assert decide(Snapshot(endpoint, {1: dead}, now=10.0 + BACKOFF_S)) == (Forget(1), Start(1))


def test_more_and_fewer_replicas() -> None:
    two = replace(EMPTY, version=1, wanted=2, replicas=(replica(1, 1),))
    assert decide(Snapshot(two, {1: job(1)})) == (Start(1),)
    one = replace(EMPTY, version=1, wanted=1, replicas=(replica(1, 1), replica(2, 1)))
    assert decide(Snapshot(one, {1: job(1), 2: job(2)})) == (Drain(2),)


def test_one_that_was_let_go_a_moment_ago_comes_back_before_another_is_started() -> None:
    leaving = replica(1, 1, ReplicaState.DRAINING, since=100.0)
    endpoint = replace(EMPTY, version=1, wanted=2, replicas=(leaving,))
    soon = 100.0 + DRAIN_S - 1
    assert decide(Snapshot(endpoint, {1: job(1)}, now=soon)) == (Ready(1, 1, leaving.url), Start(1))
    assert decide(Snapshot(endpoint, {1: job(1, cancel_requested=True)}, now=soon)) == (Start(1), Start(1))
    assert decide(Snapshot(endpoint, {1: job(1)}, now=100.0 + DRAIN_S)) == (Stop(1), Start(1), Start(1))
    assert decide(Snapshot(replace(endpoint, wanted=0), {1: job(1)}, now=soon)) == ()


def test_a_version_without_replicas_can_be_a_candidate_again() -> None:
    endpoint = replace(EMPTY, version=1, wanted=0)
    assert decide(Snapshot(endpoint, {})) == ()
    assert decide(Snapshot(replace(endpoint, candidate=1), {})) == (Start(1),)
    ready = replace(endpoint, candidate=1, switch=True, replicas=(replica(1, 1),))
    assert decide(Snapshot(ready, {1: job(1)})) == (Switch(1),)


def test_so_many_sleep_instead_of_going() -> None:
    leaving = replica(2, 1, ReplicaState.DRAINING, since=10.0), replica(3, 1, ReplicaState.DRAINING, since=11.0)
    endpoint = replace(EMPTY, version=1, scaling=Scaling(1, 3, sleep=1), replicas=(replica(1, 1), *leaving))
    jobs = {number: job(number) for number in (1, 2, 3)}
    late = 11.0 + DRAIN_S
    assert decide(Snapshot(endpoint, jobs, sleepers=frozenset(jobs), now=late)) == (Sleep(2), Stop(3))
    assert decide(Snapshot(endpoint, jobs, now=late)) == (Stop(2), Stop(3))
    old = replace(endpoint, version=2, replicas=(replica(4, 2), leaving[0]))
    assert decide(Snapshot(old, {**jobs, 4: job(4)}, sleepers=frozenset(jobs), now=late)) == (Stop(2),)


def test_one_that_sleeps_is_woken_before_another_is_started() -> None:
    asleep = replica(2, 1, ReplicaState.ASLEEP)
    endpoint = replace(EMPTY, version=1, wanted=3, scaling=Scaling(1, 3, sleep=1), replicas=(replica(1, 1), asleep))
    jobs = {1: job(1), 2: job(2)}
    assert decide(Snapshot(endpoint, jobs)) == (Wake(2), Start(1))
    waking = replace(endpoint, replicas=(replica(1, 1), replica(2, 1, ReplicaState.WAKING)))
    assert decide(Snapshot(waking, jobs)) == (Rouse(2), Start(1))
    assert decide(Snapshot(replace(waking, wanted=1), jobs)) == (Rouse(2),)  # first awake, then let go


def test_one_that_sleeps_ends_with_its_endpoint_and_starts_anew_where_its_process_did() -> None:
    asleep = replica(1, 1, ReplicaState.ASLEEP)
    endpoint = replace(EMPTY, version=1, wanted=0, scaling=Scaling(0, 1, sleep=1), replicas=(asleep,))
    assert decide(Snapshot(endpoint, {1: job(1)})) == ()
    assert decide(Snapshot(replace(endpoint, version=None), {1: job(1)})) == (Stop(1),)
    assert decide(Snapshot(endpoint, {1: job(1, attempt=2)})) == (Unready(1),)


def test_a_stopped_endpoint_lets_everything_go() -> None:
    stopped = replace(EMPTY, version=None, wanted=0, replicas=(replica(1, 1),))
    assert decide(Snapshot(stopped, {1: job(1)})) == (Drain(1),)
    ended = replace(stopped, replicas=(replica(1, 1, ReplicaState.DRAINING),))
    assert decide(Snapshot(ended, {1: job(1, JobState.CANCELLED, ended_at=5.0)})) == (Forget(1),)


def test_a_replica_that_lived_long_is_replaced_at_once_and_then_forgotten() -> None:
    dead = job(1, JobState.FAILED, started_at=1.0, ended_at=5000.0)
    endpoint = replace(EMPTY, version=1, replicas=(replica(1, 1),))
    assert decide(Snapshot(endpoint, {1: dead}, now=5000.0)) == (
        Failed(1, "replica (job 1) ended: failed"),
        Start(1),
    )
    replaced = replace(EMPTY, version=1, replicas=(replica(1, 1, ReplicaState.FAILED), replica(2, 1)))
    assert decide(Snapshot(replaced, {1: dead, 2: job(2)}, now=5001.0)) == (Forget(1),)


def test_a_replica_that_dies_young_is_not_replaced_in_the_same_breath() -> None:
    endpoint = replace(EMPTY, version=1, replicas=(replica(1, 1, ReplicaState.STARTING),))
    dead = job(1, JobState.FAILED, ended_at=5.0)
    assert decide(Snapshot(endpoint, {1: dead}, now=5.0)) == (Failed(1, "replica (job 1) ended: failed"),)


def test_a_replica_whose_process_is_gone_or_going_takes_no_requests() -> None:
    endpoint = replace(EMPTY, version=1, replicas=(replica(1, 1),))
    for state in (JobState.PENDING, JobState.STARTING, JobState.STOPPING):
        assert decide(Snapshot(endpoint, {1: job(1, state)})) == (Unready(1),)


def test_a_job_is_asked_to_end_once() -> None:
    draining = replace(EMPTY, wanted=0, replicas=(replica(1, 1, ReplicaState.DRAINING),))
    assert decide(Snapshot(draining, {1: job(1)}, now=DRAIN_S)) == (Stop(1),)
    stopping = job(1, JobState.STOPPING, cancel_requested=True)
    assert decide(Snapshot(draining, {1: stopping}, now=DRAIN_S + 1)) == ()
