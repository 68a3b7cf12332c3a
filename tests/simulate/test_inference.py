"""Inference beside the jobs: what files say is needed, the replicas that come of it, and what it misses."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from stoker.errors import BadInput
from stoker.job import Job, JobSpec, JobState
from stoker.schedule.policy import Policy
from stoker.simulate import Demand, Inference, Outcome, Settings, Trace, TracedJob, simulate
from stoker.simulate.demand import ENDPOINT, demand_of, read_demand
from stoker.simulate.inference import Served, changes, inference_of
from stoker.simulate.measures import measure
from stoker.simulate.pool import nodes_of
from stoker.simulate.readers import spec_of

DAY = 86400.0
NODES = nodes_of("3xH100:4")
AT_ONCE = Policy(min_runtime=0.0, restart=0.0, forecast=600.0, reserve=0.0)


def written(folder: Path, text: str) -> Path:
    path = folder / "demand.csv"
    path.write_text(text)
    return path


def test_replicas_from_a_file(tmp_path: Path) -> None:
    demand = read_demand(written(tmp_path, "time,replicas\n100,1\n160,3\n220,2\n"))
    assert demand == Demand([0.0, 60.0, 120.0], [1, 3, 2], 180.0)
    assert [demand.needed(at) for at in (0, 59, 60, 179, 180, 250)] == [1, 1, 3, 2, 1, 3]
    assert list(demand.steps(200)) == [(0, 1), (60, 3), (120, 2), (180, 1)]


def test_a_row_at_the_end_of_a_day_ends_it(tmp_path: Path) -> None:
    demand = read_demand(written(tmp_path, "time,replicas\n0,1\n3600,4\n86400,1\n"))
    assert demand == Demand([0.0, 3600.0], [1, 4], DAY)


def test_requests_need_to_be_worth_replicas(tmp_path: Path) -> None:
    path = written(tmp_path, "time,qps\n0,5\n60,20\n")
    assert read_demand(path, per_replica=4.0).replicas == [2, 5]
    assert read_demand(path, ceiling=8).replicas == [2, 8]
    with pytest.raises(BadInput, match="--ceiling"):
        read_demand(path)


def test_sums_of_hours_repeat_day_by_day(tmp_path: Path) -> None:
    """Alibaba's trace lacks the last hour of its day."""
    rows = "timestamp_anon,value\n" + "".join(f"{1800 * at},{1 + (at >= 44)}\n" for at in range(46))
    demand = read_demand(written(tmp_path, rows), ceiling=8)
    assert (demand.replicas[0], demand.replicas[-1], len(demand.at), demand.period) == (4, 8, 23, DAY)


def test_replicas_of_the_own_history() -> None:
    def ran(begin: float, end: float, **labels: str) -> Job:
        spec = JobSpec(name="j", command=("x",), labels=dict(labels))
        return Job(1, spec, "t", "o", JobState.SUCCEEDED, begin, begin, ended_at=end)

    replicas = [ran(100, 400, **{ENDPOINT: "chat"}), ran(200, 300, **{ENDPOINT: "chat"})]
    demand = demand_of([*replicas, ran(0, 999)])
    assert (demand.at, demand.replicas) == ([0, 100, 200, 300], [1, 2, 1, 0])
    assert demand_of(replicas, begin=150.0).at == [0, 50, 150, 250]
    with pytest.raises(BadInput, match="no replica"):
        demand_of([ran(0, 999)])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "columns none"),
        ("a,b\n1,2\n", "columns a, b; wanted: time and one of replicas, qps, value"),
        ("time,replicas\n", "holds no demand"),
        ("time,replicas\n0,0\n", "holds no demand"),
        ("time,replicas\n0,x\n", "line 2: could not convert"),
        ("time,replicas\n0\n", "line 2"),
        ("time,replicas\nnan,1\n", "line 2"),
        ("time,replicas\n0,-1\n", "line 2: replicas is -1"),
        ("time,replicas\n0,1e12\n", "allowed is up to 100,000"),
        ("[{]", "is no JSON"),
        ("{}", "stoker jobs --all --json"),
        ("[]", "no replica of an endpoint"),
    ],
)
def test_wrong_files_are_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(BadInput, match=said) as raised:
        read_demand(written(tmp_path, text))
    assert "\n" not in str(raised.value)


def test_replicas_come_before_they_are_needed_and_go_after() -> None:
    inference = inference_of(Demand([0.0, 7200.0, 10800.0], [1, 3, 1], DAY))
    found = list(islice(changes(inference, AT_ONCE), 3))
    assert found == [(0.0, 1), (7200.0 - 600.0, 3), (10800.0 + 300.0, 1)]
    assert next(changes(inference, replace(AT_ONCE, lend=False))) == (0.0, 3)


@given(
    some.lists(some.tuples(some.integers(0, 50), some.integers(0, 5)), max_size=8),
    some.lists(some.tuples(some.integers(0, 50), some.integers(0, 5)), max_size=8),
)
def test_what_is_missed_is_counted_second_by_second(
    needed: list[tuple[int, int]], there: list[tuple[int, int]]
) -> None:
    steps = [sorted({0: 0, **dict(one)}.items()) for one in (needed, there)]
    asked, given = ([(float(at), number) for at, number in one] for one in steps)
    served = Served(asked, given, devices=4, ceiling=5, begin=0.0, until=60.0)
    now = [[next(number for at, number in reversed(one) if at <= second) for one in steps] for second in range(60)]
    assert served.missed == sum(need > have for need, have in now)
    assert served.missing == sum(max(0, need - have) for need, have in now)
    assert served.lent == 4 * sum(5 - have for _, have in now)
    assert served.short()[-1][1] == pytest.approx(served.missed / 3600)


def beside(jobs: Sequence[TracedJob], inference: Inference, policy: Policy = AT_ONCE) -> Outcome:
    ordered = sorted(jobs, key=lambda job: job.submitted_at)
    numbered = [replace(job, id=number) for number, job in enumerate(ordered, 1)]
    return simulate(Trace("made", numbered, inference=inference), NODES, Settings(policy))


def training(at: float, work: float, devices: float) -> TracedJob:
    spec = replace(spec_of("train", devices, 4), preemptible=True, checkpoint_every=600.0)
    return TracedJob(0, at, work, spec)


DAILY = inference_of(Demand([0.0, 36000.0, 72000.0], [1, 3, 1], DAY), devices=4)


def test_training_gets_what_inference_lends_and_gives_it_back_in_time() -> None:
    """It holds the two nodes that are free at night, and none by day."""
    outcome = beside([training(0, 2 * DAY, 8)], DAILY)
    told = measure(outcome)
    assert (told.jobs, told.ended, told.unmet) == (1, 1, 0.0)
    assert told.preemptions > 1
    assert told.lent is not None
    assert told.lent > 0
    kept = measure(beside([training(0, 20000, 4)], DAILY, replace(AT_ONCE, lend=False)))
    assert (kept.ended, kept.lent) == (0, 0.0)  # it never starts, and the simulation ends all the same


def test_it_ends_where_jobs_begin_anew_every_night_and_get_nowhere() -> None:
    hopeless = replace(training(0, 2 * DAY, 8), spec=replace(training(0, 1, 8).spec, checkpoint_every=None))
    told = measure(beside([hopeless], DAILY))
    assert told.ended == 0
    assert told.preemptions > 1


def test_a_replica_that_comes_too_late_is_told() -> None:
    """Nothing is forecast, and both replicas that come at ten take two minutes to answer."""
    slow = dataclasses.replace(DAILY, begins=120.0)
    told = measure(beside([training(0, 50_000, 1)], slow, replace(AT_ONCE, forecast=0.0)))
    assert told.unmet == pytest.approx(120.0)
    assert told.missing == pytest.approx(240.0)


@settings(max_examples=30, deadline=None)
@given(
    some.lists(
        some.builds(
            training, some.integers(0, 90_000), some.integers(1, 90_000), some.sampled_from((0.5, 1, 2, 4, 8))
        ),
        min_size=1,
        max_size=8,
    )
)
def test_inference_has_what_it_needs_whatever_trains(jobs: Sequence[TracedJob]) -> None:
    """All training gives way, so nothing is missed; and all of it ends, as nights are long enough."""
    outcome = beside(jobs, DAILY)
    told = measure(outcome)
    assert (told.unmet, told.ended) == (0.0, len(jobs))
    assert all(moment.busy <= outcome.devices for moment in outcome.moments)
    assert outcome.moments[-1].preemptions == told.preemptions
    assert outcome.moments[-1].lost == pytest.approx(told.lost)
    assert math.isfinite(told.makespan)


def test_a_history_read_from_json(tmp_path: Path) -> None:
    path = written(tmp_path, json.dumps({"items": [{"id": 1}]}))
    with pytest.raises(BadInput, match="job 1"):
        read_demand(path)
