"""A plan with preemption, a job that shrinks, and a move, on a real Slurm and on a real Kubernetes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from stoker.job import Job, JobSpec, JobState, Resources
from tests.control.test_moves_live import Pool, cluster, pool

pytestmark = [pytest.mark.slow, pytest.mark.slurm, pytest.mark.kubernetes]
__all__ = ["cluster", "pool"]

OPEN = {"slurm": 4, "kubernetes": 3}  # the fourth of Kubernetes is the machine that Slurm has

# It counts its starts and nodes, and saves itself when it is told to.
ELASTIC = """
trap 'echo saved on rank $STOKER_NODE_RANK; exit 0' USR1
echo attempt $STOKER_ATTEMPT has $STOKER_NUM_NODES nodes
while :; do sleep 0.05; done
"""


class Play:
    """Jobs on one engine of the pool."""

    def __init__(self, pool: Pool, engine: str) -> None:
        self.pool, self.engine = pool, engine
        self.pool.wait(lambda: len(self.open()) == OPEN[engine], lambda: str(self.open()))

    def open(self) -> list[str]:
        """Its nodes that take work."""
        here = self.pool.app.nodes(self.pool.who)
        return [node.name for node in here if node.engine == self.engine and node.schedulable]

    def submit(self, text: str, devices: int, **fields: object) -> Job:
        wanted = {"preemptible": True, "min_runtime": 0.0, "grace": 5.0, **fields}
        spec = JobSpec(
            command=("bash", "-c", text),
            engine=self.engine,
            resources=Resources(devices),
            **wanted,  # type: ignore[arg-type]
        )
        return self.pool.app.jobs.submit([spec], self.pool.who)[0]

    def now(self, job: Job) -> Job:
        return self.pool.app.jobs.get(job.id, self.pool.who)

    def until(self, job: Job, wanted: Callable[[Job], bool]) -> Job:
        self.pool.wait(lambda: wanted(self.now(job)), lambda: str(self.now(job)))
        return self.now(job)

    def runs(self, *jobs: Job, attempt: int = 1) -> list[Job]:
        return [
            self.until(job, lambda now: now.state is JobState.RUNNING and now.attempt == attempt) for job in jobs
        ]

    def log(self, job: Job, attempt: int) -> str:
        return self.pool.app.jobs.logs(job.id, self.pool.who, attempt=attempt).decode()

    def cancel(self, jobs: Sequence[Job]) -> None:
        self.pool.app.jobs.cancel([job.id for job in jobs], self.pool.who)
        for job in jobs:
            self.until(job, lambda now: now.state.final)


@pytest.mark.parametrize("engine", ["slurm", "kubernetes"])
def test_a_job_saves_itself_shrinks_for_a_more_important_one_and_another_moves(
    pool: Pool, engine: str, tmp_path: Path
) -> None:
    del tmp_path
    play = Play(pool, engine)
    count = OPEN[engine]
    elastic = play.submit(
        ELASTIC, 8, nodes=count, min_nodes=1, each_node=True, priority=20,
        checkpoint_signal="USR1", checkpoint_lead=60.0,
    )  # fmt: skip
    play.runs(elastic)
    pool.wait(lambda: "attempt 1 has" in play.log(elastic, 1), lambda: play.log(elastic, 1))
    urgent = play.submit("sleep 600", 8, preemptible=False, priority=80)
    [held] = play.runs(urgent)
    [shrunk] = play.runs(elastic, attempt=2)
    assert len(shrunk.placements) == count - 1
    assert held.placements[0].node not in {place.node for place in shrunk.placements}
    assert "saved on rank 0" in play.log(elastic, 1)
    pool.wait(lambda: f"attempt 2 has {count - 1} nodes" in play.log(elastic, 2), lambda: play.log(elastic, 2))
    play.cancel([elastic])

    halves = play.runs(*(play.submit("sleep 600", 4) for _ in range(2 * (count - 1))))
    on: dict[str, list[Job]] = {}
    for job in halves:
        on.setdefault(job.placements[0].node, []).append(job)
    first, second = list(on)[:2]
    play.cancel([on[first][0], on[second][0]])  # half of each is free
    whole = play.submit("sleep 600", 8)
    [whole] = play.runs(whole)
    left = [on[first][1], on[second][1]]
    moved = [job for job in left if play.now(job).attempt == 2 or play.now(job).state is not JobState.RUNNING]
    [back] = [play.until(job, lambda now: now.state is JobState.RUNNING and now.attempt == 2) for job in moved]
    (other,) = [job for job in left if job.id != back.id]
    assert whole.placements[0].node == next(name for name, jobs in on.items() if moved[0] in jobs)
    assert back.placements[0].node == other.placements[0].node
    told = [event.message for event in pool.app.jobs.events(back.id, pool.who)]
    assert any(text.startswith(f"starts again elsewhere: lets job {whole.id} in; loses ") for text in told)
