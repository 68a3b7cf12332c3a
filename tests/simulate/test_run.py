"""Laws of the simulator: whatever comes, nothing is over-allocated, all ends, and the same input gives the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from stoker.errors import BadInput
from stoker.schedule.policy import Backfill, Order, Policy, Preempt
from stoker.simulate import Outcome, Settings, Trace, TracedJob, simulate
from stoker.simulate.measures import jain, measure
from stoker.simulate.pool import nodes_of
from stoker.simulate.readers import spec_of

NODES = nodes_of("3xH100:4")


def job(
    number: int, at: float, work: float, devices: float, priority: int = 50, warning: float | None = None
) -> TracedJob:
    """Preemptible where it has a warning; then what it did since its last checkpoint is lost, but for 0 s."""
    spec = replace(spec_of("job", devices, 4, cpus=1), priority=priority)
    if warning is not None:
        spec = replace(spec, preemptible=True, checkpoint_signal="USR1" if warning else "", checkpoint_lead=warning)
    return TracedJob(number, at, work, spec, tenant=f"t{number % 3}", owner=f"o{number % 5}")


JOBS = some.lists(
    some.builds(
        lambda at, work, devices, priority, warning: job(0, float(at), float(work), devices, priority, warning),
        some.integers(0, 5000),
        some.integers(1, 20000),
        some.sampled_from((0, 0.25, 0.5, 1, 2, 3, 4, 8, 12)),
        some.sampled_from((20, 50, 50, 80)),
        some.sampled_from((None, 0.0, 60.0)),
    ),
    min_size=1,
    max_size=15,
)
POLICIES = some.builds(
    Policy,
    order=some.sampled_from(Order),
    backfill=some.sampled_from(Backfill),
    preempt=some.sampled_from(Preempt),
    turn=some.sampled_from((0.0, 60.0, 3600.0)),
    min_runtime=some.sampled_from((0.0, 60.0)),
)


def traced(jobs: Sequence[TracedJob]) -> Trace:
    ordered = sorted(jobs, key=lambda one: one.submitted_at)
    return Trace("made", [replace(one, id=number) for number, one in enumerate(ordered, 1)])


def run(jobs: Sequence[TracedJob], policy: Policy | None = None) -> Outcome:
    return simulate(traced(jobs), NODES, Settings(policy or Policy()))


@settings(max_examples=40)
@given(JOBS, POLICIES)
def test_nothing_is_over_allocated_and_all_ends(jobs: list[TracedJob], policy: Policy) -> None:
    outcome = run(jobs, policy)
    assert all(0 <= moment.busy <= outcome.devices for moment in outcome.moments)
    assert all(0 <= moment.broken <= outcome.devices - moment.busy for moment in outcome.moments)
    assert all(before.at < after.at for before, after in pairwise(outcome.moments))
    assert len(outcome.jobs) == len(jobs)
    for one in outcome.jobs:
        assert one.started_at is not None
        assert one.ended_at is not None
        assert one.submitted_at <= one.started_at < one.ended_at
        assert one.served == pytest.approx(one.work + one.lost + one.starting, abs=1e-3)
        assert one.queueing is not None
        assert one.queueing >= 0
    assert outcome.moments[-1].busy == outcome.moments[-1].waiting == 0


@settings(max_examples=40)
@given(JOBS, POLICIES)
def test_the_same_gives_the_same(jobs: list[TracedJob], policy: Policy) -> None:
    assert run(jobs, policy) == run(jobs, policy)


@settings(max_examples=40)
@given(JOBS, POLICIES)
def test_what_is_not_offered_would_not_have_started(jobs: list[TracedJob], policy: Policy) -> None:
    same = [replace(one, tenant="t", owner="o", spec=replace(one.spec, priority=50)) for one in jobs]
    alike = [replace(one, work=one.work + 7.0 * number) for one in same for number in range(3)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stoker.simulate.run._FEW", 1)
        offered = run(alike, policy)
        patch.setattr("stoker.simulate.waiting._key", lambda job: job.id)  # each is one of a kind: all are offered
        assert run(alike, policy) == offered


@settings(max_examples=40)
@given(JOBS)
def test_what_is_held_adds_up(jobs: list[TracedJob]) -> None:
    """Device-seconds by job, by moment and by queue are the same."""
    outcome = run(jobs)
    by_job = sum(one.held for one in outcome.jobs)
    by_moment = sum(before.busy * (after.at - before.at) for before, after in pairwise(outcome.moments))
    by_queue = sum(
        held * (after - at) for series in outcome.held.values() for (at, held), (after, _) in pairwise(series)
    )
    assert by_moment == pytest.approx(by_job, rel=1e-6, abs=0.1)
    assert by_queue == pytest.approx(by_job, rel=1e-6, abs=0.1)


def test_one_job_after_the_other() -> None:
    jobs = [replace(one, restart=5.0) for one in (job(1, 0, 100, 12), job(2, 10, 50, 12))]
    outcome = run(jobs)
    first, second = outcome.jobs
    assert (first.started_at, first.ended_at) == (0, 105)
    assert (second.started_at, second.ended_at) == (105, 160)
    assert second.queueing == 95
    measures = measure(outcome)
    assert measures.allocation == pytest.approx(1.0)
    assert measures.completion.mean == pytest.approx((105 + 150) / 2)
    assert measures.makespan == 160


def test_an_elastic_job_runs_on_what_there_is_and_as_fast() -> None:
    """Two of three nodes are free: it does two thirds of its work in a second, then grows at what that costs."""
    first, second = job(1, 0, 300, 4), job(2, 0, 1200, 12)
    spec = replace(second.spec, min_nodes=1, preemptible=True, checkpoint_signal="USR1", checkpoint_lead=0.0)
    outcome = run([first, replace(second, spec=spec)], Policy(restart=10.0, min_runtime=0.0))
    small, elastic = outcome.jobs
    assert (small.ended_at, elastic.started_at, elastic.preemptions) == (300, 0, 1)
    assert elastic.ended_at == 300 + 10 + (1200 - 200)
    assert elastic.held == 300 * 8 + 1010 * 12
    assert [moment.busy for moment in outcome.moments if moment.at == 0] == [12]


def test_a_start_is_in_the_durations_of_a_trace_and_a_second_one_is_not() -> None:
    low, high = job(1, 0, 1000, 12, 20, warning=0.0), job(2, 100, 50, 12, 80)
    first, second = run([low, high], Policy(restart=7.0, min_runtime=0.0, checkpoint_every=10.0)).jobs
    assert (second.started_at, second.ended_at) == (100, 150)
    assert (first.ended_at, first.preemptions, first.starting) == (1050 + 7, 1, 7)


def test_short_jobs_first_where_limits_are_known() -> None:
    long, short = job(1, 1, 1000, 12), job(2, 2, 10, 12)
    holder = job(3, 0, 100, 12)
    timed = [replace(one, spec=replace(one.spec, time_limit=one.work)) for one in (long, short)]
    outcome = run([holder, *timed], Policy(order=Order.SHORTEST))
    ended = {one.work: one.ended_at or 0.0 for one in outcome.jobs}
    assert ended[10] < ended[1000]


def test_likely_end_learns_who_is_short() -> None:
    """Two users whose jobs last seconds and hours: once that is known, the short ones go first."""
    jobs = []
    for number in range(60):
        quick = number % 2 == 0
        one = job(number, 10.0 * number, 20.0 if quick else 7200.0, 12)
        jobs.append(replace(one, owner="quick" if quick else "slow", tenant="t"))
    come = measure(run(jobs))
    likely = measure(run(jobs, Policy(order=Order.LIKELY_END)))
    assert likely.completion.mean < 0.7 * come.completion.mean


def test_equals_take_turns_and_lose_what_was_not_saved() -> None:
    """A short job that is likely to end displaces the long one after its turn, which then goes on where it was."""
    long, short = job(1, 0, 20000, 12, warning=0.0), job(2, 10, 100, 12, warning=0.0)
    policy = Policy(
        order=Order.LEAST_SERVICE, preempt=Preempt.EQUALS, turn=5000.0, restart=0.0, checkpoint_every=1800
    )
    first, second = run([long, short], policy).jobs
    assert second.started_at == 5000
    assert (first.preemptions, first.lost) == (1, 5000 - 2 * 1800)
    assert first.ended_at == 20000 + 100 + first.lost


def test_lower_priority_gives_way_after_its_warning() -> None:
    low, high = job(1, 0, 5000, 12, 20, warning=60.0), job(2, 1000, 100, 12, 80)
    first, second = run([low, high], Policy(restart=0.0)).jobs
    assert second.started_at == 1060
    assert (first.preemptions, first.lost, first.ended_at) == (1, 0.0, 5100)


@pytest.mark.parametrize(
    ("backfill", "begins"), [(Backfill.NONE, 1100), (Backfill.EASY, 20), (Backfill.GREEDY, 20)]
)
def test_backfill_is_as_the_policy_has_it(backfill: Backfill, begins: float) -> None:
    """A gang waits for the first job; behind it comes a short one that fits beside."""
    one, gang, small = job(1, 0, 1000, 8), job(2, 10, 100, 12), job(3, 20, 50, 4)
    timed = [replace(each, spec=replace(each.spec, time_limit=each.work)) for each in (one, gang, small)]
    assert run(timed, Policy(backfill=backfill, restart=0.0)).jobs[2].started_at == begins


def test_what_never_fits_is_counted() -> None:
    outcome = run([job(1, 0, 10, 4), job(2, 0, 10, 16)])
    assert [one.id for one in outcome.jobs] == [1]
    assert sum(outcome.refused.values()) == 1
    with pytest.raises(BadInput, match="no job of made could ever run"):
        run([job(1, 0, 10, 16)])


def test_jain() -> None:
    assert jain([3.0, 3.0, 3.0]) == pytest.approx(1.0)
    assert jain([1.0, 0.0, 0.0, 0.0]) == pytest.approx(0.25)
