"""Jobs in the database."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.errors import Conflict, NotFound
from stoker.job import (
    MOVES,
    Condition,
    Dependency,
    Job,
    JobKind,
    JobSpec,
    JobState,
    Placement,
    Resources,
)
from stoker.store.database import Database
from stoker.store.jobs import Draft, Filter, JobStore, Move
from stoker.store.lease import Lease
from stoker.typed import dump, read

SPEC = JobSpec(command=("x",))


@pytest.fixture
def store(url: str) -> Iterator[JobStore]:
    database = Database(url)
    database.migrate()
    yield JobStore(database)
    database.close()


def add(store: JobStore, *specs: JobSpec, tenant: str = "t") -> list[Job]:
    return store.add([Draft(spec) for spec in specs or (SPEC,)], tenant=tenant, owner="o", ship="", at=1.0)


def test_a_job_comes_back_as_it_was_stored(store: JobStore) -> None:
    spec = JobSpec(
        name="ünï ’x’",
        command=("a b", "c\nd", "$x;"),
        kind=JobKind.SERVICE,
        resources=Resources(2, ("H100", "H20"), 500, 3, 1 << 40),
        envs={"A": "b=c"},
        depends=(Dependency(1, Condition.AFTER_ANY),),
        time_limit=0.5,
        array=(),
        labels={"k": "v"},
    )
    (job,) = add(store, spec)
    (moved,) = store.move(
        [Move(job, JobState.STARTING, fields={"attempt": 1, "placements": (Placement("n", (0, 3)),)})], at=2.0
    )
    assert store.get(job.id) == moved
    assert store.get(job.id).spec == spec


def test_ids_never_come_back_and_arrays_lie_together(store: JobStore) -> None:
    first = add(store)[0].id
    drafts = [Draft(SPEC, 0, index) for index in (4, 2)] + [
        Draft(JobSpec(command=("y",), depends=(Dependency(-1),)))
    ]
    a, b, after = store.add(drafts, tenant="t", owner="o", ship="s", at=1.0)
    assert (a.id, b.id, after.id) == (first + 1, first + 2, first + 3)
    assert (a.label, b.label) == (f"{a.id}_4", f"{a.id}_2")
    assert after.spec.depends == (Dependency(a.id),)
    assert store.states([a.id, b.id, after.id, 999])[a.id] == (JobState.PENDING,) * 2
    assert 999 not in store.states([999])


def test_a_move_happens_only_to_the_job_as_it_was_read(store: JobStore) -> None:
    (job,) = add(store)
    (started,) = store.move([Move(job, JobState.STARTING, fields={"attempt": 1})], at=2.0)
    assert store.move([Move(job, JobState.CANCELLED)], at=3.0) == []
    assert store.get(job.id) == started
    assert [event.state for event in store.events(job.id)] == [JobState.PENDING, JobState.STARTING]


def test_a_batch_moves_each_job_once_and_leaves_out_what_was_overtaken(store: JobStore) -> None:
    first, second, third = store.add([Draft(SPEC)] * 3, tenant="t", owner="o", ship="", at=1.0)
    (third_now,) = store.move([Move(third, JobState.CANCELLED)], at=2.0)
    start = {"attempt": 1, "engine": "e", "placements": (Placement("n", (0, 1)),)}
    moved = store.move(
        [
            Move(first, JobState.STARTING, fields=start),
            Move(second, JobState.FAILED, "Refused", "no", {"ended_at": 3.0}),
            Move(first, JobState.CANCELLED),
            Move(third, JobState.STARTING, fields=start),
        ],
        at=3.0,
    )
    assert [(job.id, job.state) for job in moved] == [(first.id, JobState.STARTING), (second.id, JobState.FAILED)]
    assert store.by_ids([first.id, second.id, third.id]) == [*moved, third_now]
    assert [event.state for event in store.events(first.id)] == [JobState.PENDING, JobState.STARTING]


def test_who_knows_its_own_moves_hears_of_others_only(store: JobStore) -> None:
    mine, both = store.add([Draft(SPEC)] * 2, tenant="t", owner="o", ship="", at=1.0)
    _, last = store.changed(0)
    mine_now, both_now = store.move([Move(job, JobState.STARTING) for job in (mine, both)], at=2.0)
    assert store.changed(last, {mine.id: 1, both.id: 1})[0] == []
    (both_now,) = store.move([Move(both_now, JobState.RUNNING)], at=3.0)
    assert store.changed(last, {mine.id: 1, both.id: 1})[0] == [both_now]
    assert store.changed(last)[0] == [mine_now, both_now]


def test_unlawful_moves_raise_and_nothing_of_the_batch_happens(store: JobStore) -> None:
    good, bad = add(store, SPEC, SPEC)
    with pytest.raises(Conflict, match="a pending job cannot become running"):
        store.move([Move(good, JobState.CANCELLED), Move(bad, JobState.RUNNING)], at=2.0)
    assert store.get(good.id).state is JobState.PENDING


def test_of_many_movers_one_wins(store: JobStore) -> None:
    (job,) = add(store)
    won: list[Job] = []
    barrier = threading.Barrier(6)

    def race() -> None:
        barrier.wait()
        won.extend(store.move([Move(job, JobState.STARTING, fields={"attempt": 1})], at=2.0))

    threads = [threading.Thread(target=race) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert len(store.events(job.id)) == 2


def test_concurrent_submissions_get_ids_of_their_own(store: JobStore) -> None:
    got: list[int] = []
    threads = [
        threading.Thread(target=lambda: got.extend(job.id for _ in range(10) for job in add(store, SPEC, SPEC)))
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == list(range(min(got), min(got) + 100))


def test_changes_are_told_once(store: JobStore) -> None:
    (job,) = add(store)
    live, last = store.live()
    assert [each.id for each in live] == [job.id]
    assert store.changed(last) == ([], last)
    store.move([Move(job, JobState.CANCELLED)], at=2.0)
    changed, after = store.changed(last)
    assert ([each.state for each in changed], after) == ([JobState.CANCELLED], last + 1)
    assert store.live() == ([], after)


def test_idempotency_lasts_over_a_restart(url: str) -> None:
    ids = []
    for _ in range(2):
        database = Database(url)
        database.migrate()
        stored = JobStore(database).add([Draft(SPEC)], tenant="t", owner="o", ship="", at=1.0, key="k", digest="d")
        ids.append(stored[0].id)
        database.close()
    assert ids[0] == ids[1]


def test_one_of_two_platforms_holds_the_lease(url: str) -> None:
    first, second = Database(url), Database(url)
    ours, theirs = Lease(first), Lease(second)
    assert ours.held()
    assert theirs.held() is first.single_process  # on SQLite the lock of the home has decided already
    assert ours.held()
    ours.release()
    assert theirs.held()
    theirs.release()
    for database in (first, second):
        database.close()


def test_filters(store: JobStore) -> None:
    add(store, JobSpec(name="a", command=("x",)), JobSpec(name="b", command=("x",), kind=JobKind.SERVICE))
    add(store, JobSpec(name="a", command=("x",)), tenant="u")

    def names(wanted: Filter) -> list[tuple[str, str]]:
        return [(job.spec.name, job.tenant) for job in store.find(wanted, limit=10)]

    assert names(Filter(name="a")) == [("a", "u"), ("a", "t")]
    assert names(Filter(tenant="t")) == [("b", "t"), ("a", "t")]
    assert names(Filter(kind=JobKind.SERVICE)) == [("b", "t")]
    assert names(Filter(states=(JobState.RUNNING,))) == []
    assert store.counts(Filter()) == {JobState.PENDING: 3}


@pytest.mark.parametrize("job_id", [0, -1, 12345, 10**40])
def test_unknown_ids(store: JobStore, job_id: int) -> None:
    with pytest.raises(NotFound, match=f'no job "{job_id}"'):
        store.get(job_id)


def test_final_states_are_final() -> None:
    assert all(not MOVES[state] for state in JobState if state.final)


words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)


@given(st.lists(words, min_size=1), st.dictionaries(words.filter(lambda name: name and "=" not in name), words))
def test_any_command_survives_the_way_through_json(command: list[str], envs: dict[str, str]) -> None:
    spec = JobSpec(command=tuple(command), envs=envs)
    assert read(JobSpec, dump(spec)) == spec
