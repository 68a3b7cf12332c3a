"""Many at once: 500 jobs on 128 nodes."""

from __future__ import annotations

from pathlib import Path

import pytest

from stoker.engine import Key, Order
from stoker.job import JobSpec, JobState, Placement, Resources
from tests.engines.kubernetes import site_on, until
from tests.labs.kubernetes import Kubernetes, NodeSpec, why_not

pytestmark = [pytest.mark.kubernetes, pytest.mark.slow]
_JOBS, _NODES = 500, 128


def test_five_hundred_jobs_at_once_end_once_and_leave_nothing(tmp_path: Path) -> None:
    if reason := why_not():
        pytest.skip(reason)
    nodes = {f"gpu{index:03}": NodeSpec() for index in range(_NODES)}
    with Kubernetes(tmp_path / "cluster", nodes, beat_s=10.0) as cluster:
        site = site_on(cluster, tmp_path, image="lab/sleep-2")
        engine = site.open()
        assert len(engine.inventory()) == _NODES
        spec = JobSpec(command=("sleep",), resources=Resources(accelerators=2))
        orders = [
            Order(
                Key(job, 1),
                spec,
                (Placement(f"gpu{job % _NODES:03}", (2 * (job // _NODES), 2 * (job // _NODES) + 1)),),
            )
            for job in range(_JOBS)
        ]
        for begin in range(0, _JOBS, 100):
            assert engine.submit(orders[begin : begin + 100]) == {}
            engine.submit(orders[begin : begin + 100])
        until(lambda: all(seen.state.final for seen in engine.states().values()), "all end", 240)
        ends = engine.states()
        assert len(ends) == _JOBS
        assert {seen.state for seen in ends.values()} == {JobState.SUCCEEDED}
        engine.forget(list(ends))
        assert site.ours() == []
        engine.close()
