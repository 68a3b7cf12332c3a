"""Tuning: it finds what there is to gain, and says when there is nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stoker.errors import BadInput
from stoker.schedule.policy import Policy
from stoker.simulate import Trace, TracedJob
from stoker.simulate.pool import nodes_of
from stoker.simulate.readers import spec_of
from stoker.simulate.tune import Tuned, tune

NODES = nodes_of("1xH100:4")


def trace(*, quick: float, slow: float) -> Trace:
    """Two users in turn, each job on all devices."""
    jobs = []
    for number in range(1, 81):
        owner, work = ("quick", quick) if number % 2 else ("slow", slow)
        jobs.append(TracedJob(number, 60.0 * number, work, spec_of("job", 4, 4, cpus=1), "t", owner))
    return Trace("made", jobs)


def test_it_gains_where_short_jobs_wait_for_long_ones() -> None:
    pytest.importorskip("optuna")
    found = tune(trace(quick=30, slow=7200), NODES, Policy(), trials=12)
    assert found.gain > 0.1
    assert found.advised == found.best != found.base
    assert found == tune(trace(quick=30, slow=7200), NODES, Policy(), trials=12)


def test_it_says_when_there_is_nothing_to_gain() -> None:
    pytest.importorskip("optuna")
    found = tune(trace(quick=20, slow=20), NODES, Policy(restart=0.0), trials=5)
    assert found.gain == pytest.approx(0.0, abs=1e-6)
    assert found.advised == found.base


def test_what_gains_only_on_what_was_searched_is_not_advised() -> None:
    best = replace(Policy(), turn=7.0)
    found = Tuned(Policy(), best, 3, seen=(100.0, 50.0), unseen=(100.0, 100.5))
    assert found.gain == pytest.approx(-0.005)
    assert found.advised == Policy()


def test_few_jobs_are_refused() -> None:
    pytest.importorskip("optuna")
    with pytest.raises(BadInput, match="too few"):
        tune(trace(quick=1, slow=1).first(30), NODES, Policy())
