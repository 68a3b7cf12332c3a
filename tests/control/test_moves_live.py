"""One machine of a real Slurm and a real Kubernetes, which goes from one to the other under a real platform."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stoker.account import Account
from stoker.app import App
from stoker.control.moves import Terms
from stoker.engine_config import EngineConfig
from stoker.job import Job, JobSpec, JobState, Resources
from stoker.node_move import MoveState, NodeMove
from tests.control.conftest import admin_of, ended, runs, until
from tests.labs.kubernetes import Kubernetes, cluster
from tests.labs.slurm import SlurmLab

pytestmark = [pytest.mark.slow, pytest.mark.slurm, pytest.mark.kubernetes]
__all__ = ["cluster"]

NODE = "gpu0"  # the first of each, where a job goes that fits everywhere
_PATIENCE = 60.0
_UNCORDON = "application/merge-patch+json"


class Pool:
    """The platform over both, and the machine as each system itself shows it."""

    def __init__(self, home: Path, slurm: SlurmLab, cluster: Kubernetes) -> None:
        self.home, self.slurm, self.cluster = home, slurm, cluster
        self.app = App.open(home, cpus=1)
        self.who: Account = admin_of(self.app)
        namespace = cluster.namespace(f"pool-{secrets.token_hex(4)}")
        kubernetes = {"kubeconfig": str(cluster.kubeconfig), "namespace": namespace, "image": "python:3.11"}
        shared = {"conf": str(slurm.conf), "folder": str(home.parent / "shared"), "nodes_every": 0.5}
        for kind, settings in (("slurm", shared), ("kubernetes", kubernetes)):
            self.app.engines.add(EngineConfig(kind, kind, settings=settings), self.who)
        self.app.start()

    def restart(self) -> None:
        self.app.stop()
        self.app = App.open(self.home, cpus=1)
        self.app.start()

    def run(self, text: str, engine: str, **fields: object) -> Job:
        spec = JobSpec(
            command=("sh", "-c", text),
            engine=engine,
            resources=Resources(8),
            grace=5.0,
            **fields,  # type: ignore[arg-type]
        )
        [job] = self.app.jobs.submit([spec], self.who)
        return runs(self.app, job, self.who)

    def move(self, to: str, **terms: object) -> NodeMove:
        self.wait(lambda: self.opens_on("slurm"), self.slurm_says)  # resumed, it has to hear from its slurmd first
        [move] = self.app.moves.create([NODE], to, self.who, Terms(**terms))  # type: ignore[arg-type]
        return move

    def opens_on(self, engine: str) -> bool:
        here = self.app.nodes(self.who)
        return any(node.schedulable for node in here if (node.engine, node.name) == (engine, NODE))

    def now(self, move: NodeMove) -> NodeMove:
        return self.app.moves.get(move.id, self.who)

    def over(self, move: NodeMove) -> NodeMove:
        self.wait(lambda: self.now(move).state.final, lambda: str(self.now(move)))
        return self.now(move)

    def waits(self, move: NodeMove, why: str) -> None:
        self.wait(lambda: why in self.now(move).waits_for, lambda: str(self.now(move)))

    def slurm_says(self) -> str:
        return self.slurm.states()[NODE].rstrip("*")  # * where slurmd is slow to answer

    def cordoned(self) -> bool:
        found = self.cluster.call("GET", f"/api/v1/nodes/{NODE}")
        return bool(found["spec"].get("unschedulable"))

    def patch(self, **change: object) -> None:
        """What somebody with kubectl does to the node."""
        self.cluster.call("PATCH", f"/api/v1/nodes/{NODE}", change, kind=_UNCORDON)

    def wait(self, true: Callable[[], bool], told: Callable[[], str]) -> None:
        end = time.monotonic() + _PATIENCE
        while not true():
            assert time.monotonic() < end, told()
            time.sleep(0.1)

    def close(self) -> None:
        going = [state for state in JobState if not state.final]
        self.app.jobs.cancel([job.id for job in self.app.jobs.find(self.who, states=going)], self.who)
        self.wait(lambda: not self.app.jobs.find(self.who, states=going), lambda: "jobs do not end")
        self.app.stop()
        self.patch(spec={"unschedulable": None}, metadata={"annotations": {"stoker/drained": None}})


@pytest.fixture
def pool(tmp_path: Path, slurm: SlurmLab, cluster: Kubernetes) -> Iterator[Pool]:
    """The machine is open on Slurm and closed on Kubernetes: it was on both, and was moved."""
    pool = Pool(tmp_path / "home", slurm, cluster)
    try:
        pool.wait(lambda: len(pool.app.nodes(pool.who)) == 9, lambda: str(pool.app.engines.find(pool.who)))
        assert pool.over(pool.move("slurm")).state is MoveState.DONE
        assert (pool.slurm_says(), pool.cordoned()) == ("idle", True)
        yield pool
    finally:
        pool.close()


def test_jobs_are_waited_for_and_a_restart_changes_nothing(pool: Pool, tmp_path: Path) -> None:
    done = tmp_path / "done"
    job = pool.run(f"while [ ! -e {done} ]; do sleep 0.1; done", "slurm")
    assert [one.node for one in job.placements] == [NODE]
    move = pool.move("kubernetes")
    pool.waits(move, f"held by job {job.label} of admin")
    assert (pool.slurm_says(), pool.cordoned()) == ("draining", True)
    pool.restart()
    pool.waits(move, f"held by job {job.label} of admin")
    done.touch()
    assert ended(pool.app, job, pool.who).state is JobState.SUCCEEDED
    assert pool.over(move).state is MoveState.DONE
    assert (pool.slurm_says(), pool.cordoned()) == ("drained", False)
    there = pool.run("true", "kubernetes")
    assert ended(pool.app, there, pool.who).state is JobState.SUCCEEDED


def test_told_so_a_requeueable_job_makes_room_with_time_for_a_checkpoint(pool: Pool, tmp_path: Path) -> None:
    kept = tmp_path / "checkpoint"
    text = f"trap 'echo saved >> {kept}; exit 0' TERM; while :; do sleep 0.1; done"
    job = pool.run(text, "slurm", requeue=True)
    move = pool.move("kubernetes", preempt=True)
    assert pool.over(move).state is MoveState.DONE
    assert kept.read_text() == "saved\n"
    assert (pool.slurm_says(), pool.cordoned()) == ("drained", False)
    again = until(pool.app, job, pool.who, lambda now: now.state is JobState.RUNNING and now.attempt == 2)
    assert [one.node for one in again.placements] != [NODE]
    told = [event.message for event in pool.app.jobs.events(job.id, pool.who)]
    assert f"attempt 1 ended: preempted: its node {NODE} moves to kubernetes" in told


def test_what_others_run_is_waited_for_and_when_time_is_up_all_is_put_back(pool: Pool) -> None:
    other = pool.slurm.submit_other("-w", NODE, "--gres=gpu:2")
    pool.wait(lambda: pool.slurm_says() == "mixed", pool.slurm_says)
    move = pool.move("kubernetes", within=8.0, preempt=True)
    pool.waits(move, f"held by slurm job {other} of nobody")
    over = pool.over(move)
    assert (over.state, over.message) == (
        MoveState.UNDONE,
        f"not done within 8 s: held by slurm job {other} of nobody",
    )
    assert (pool.slurm_says(), pool.cordoned()) == ("mixed", True)
    again = pool.move("kubernetes")
    pool.waits(again, "held by slurm job")
    pool.slurm.run("scancel", other)
    assert pool.over(again).state is MoveState.DONE


def test_what_somebody_else_drains_on_the_way_stays_so(pool: Pool) -> None:
    other = pool.slurm.submit_other("-w", NODE, "--gres=gpu:2")
    pool.wait(lambda: pool.slurm_says() == "mixed", pool.slurm_says)
    move = pool.move("kubernetes")
    pool.waits(move, "held by slurm job")
    pool.patch(metadata={"annotations": {"stoker/drained": None}})  # kubectl cordon, after an uncordon
    pool.slurm.run("scancel", other)
    over = pool.over(move)
    assert over.state is MoveState.UNDONE, over
    assert "cordoned by somebody else in Kubernetes; it stays so" in over.message
    assert (pool.slurm_says(), pool.cordoned()) == ("idle", True)


def test_a_source_that_somebody_else_drains_is_not_undrained(pool: Pool) -> None:
    other = pool.slurm.submit_other("-w", NODE, "--gres=gpu:2")
    pool.wait(lambda: pool.slurm_says() == "mixed", pool.slurm_says)
    move = pool.move("kubernetes")
    pool.waits(move, "held by slurm job")
    pool.slurm.run("scontrol", "update", f"nodename={NODE}", "state=drain", "reason=raid")
    pool.app.moves.undo(move.id, pool.who)
    over = pool.over(move)
    assert over.state is MoveState.UNDONE
    assert 'left as it is on slurm: node gpu0 was drained by somebody else ("raid' in over.message
    assert pool.slurm_says() == "draining"
    pool.slurm.run("scancel", other)
