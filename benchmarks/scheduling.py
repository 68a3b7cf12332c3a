"""How quickly the scheduler decides, from 100 to 12,500 nodes of 8 devices: in memory, and written down.

    python benchmarks/scheduling.py decide [--nodes 100,1000,5000,12500] [--waiting 50000] [--svg FILE]
    python benchmarks/scheduling.py store [--nodes 5000] [--jobs 20000]

`decide` fills an empty pool with jobs in passes of 1,000 (placements per second, arrays and queues included), lets
`--waiting` more wait, and then repeats the pass after one node was closed or opened, and with a pool that is not
kept. `store` submits jobs in batches of 500 to a real SQLite file with fsync and lets the dispatcher place them on
an engine that accepts all; timed from the first submission until the last job is recorded and handed over.

The jobs: 60 shapes (1 to 8 devices of any or one of three models, shares of a device, CPUs only, gangs of 2 to 64
nodes), four priorities, 200 users in 12 queues that deserve 60 % of the pool together, half with a time limit.
"""

from __future__ import annotations

import argparse
import gc
import math
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from stoker.clock import SystemClock
from stoker.cluster import Device, Node
from stoker.control.changes import Changes
from stoker.control.loop import Dispatcher
from stoker.control.roster import Roster
from stoker.engine import Key, Observation, Order
from stoker.job import Job, JobSpec, JobState, Resources
from stoker.queue import Queue
from stoker.schedule import Pool, Snapshot, decide
from stoker.schedule.snapshot import Plan
from stoker.store.database import Database
from stoker.store.jobs import Draft, Filter, JobStore
from stoker.store.lease import Lease

MODELS = ("H100", "H20", "910B")
NOW = 1_700_000_000.0
BATCH = 1000  # jobs of one pass, and of one submission half as many


def cluster(count: int) -> list[Node]:
    return [
        Node(
            f"gpu-{at:05}",
            "pool",
            cpus=192,
            memory=2 << 40,
            devices=tuple(Device(index, MODELS[at % 3]) for index in range(8)),
        )
        for at in range(count)
    ]


def queues(devices: int) -> list[Queue]:
    return [Queue(f"team-{at}", deserved=devices * 0.6 / 12) for at in range(12)]


class Work:
    """An endless stream of jobs that looks like a company's."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)
        self._count = 0
        self._shapes = [self._shape() for _ in range(60)]

    def _shape(self) -> tuple[Resources, int, float | None]:
        draw = self._random
        kind = draw.choices(("device", "node", "share", "gang", "cpus"), (45, 20, 20, 4, 11))[0]
        models = draw.choice([(), (), (draw.choice(MODELS),), ("H100", "H20")])
        limit = draw.choice([None, 3600.0, 4 * 3600.0, 86400.0])
        if kind == "cpus":
            return Resources(cpus=draw.choice([2, 8, 32])), 1, limit
        if kind == "share":
            return Resources(1, models, draw.choice([100, 250, 500]), draw.choice([2, 4, 8])), 1, limit
        if kind == "gang":
            return Resources(8, models, cpus=draw.choice([64, 128])), draw.choice([2, 2, 4, 8, 16, 64]), limit
        devices = 8 if kind == "node" else draw.choice([1, 1, 2, 4])
        return Resources(devices, models, cpus=devices * draw.choice([8, 12, 20])), 1, limit

    def specs(self, count: int) -> list[JobSpec]:
        draw = self._random
        specs = []
        for _ in range(count):
            need, nodes, limit = draw.choice(self._shapes)
            specs.append(
                JobSpec(
                    command=("true",),
                    resources=need,
                    nodes=nodes,
                    time_limit=limit,
                    priority=draw.choice([30, 50, 50, 70, 90]),
                    queue=f"team-{draw.randrange(12)}",
                )
            )
        return specs

    def jobs(self, count: int) -> list[Job]:
        draw = self._random
        made = []
        for spec in self.specs(count):
            self._count += 1
            owner = f"user-{draw.randrange(200)}"
            made.append(Job(self._count, spec, "t", owner, JobState.PENDING, NOW + self._count))
        return made


class World:
    """A pool that is decided on again and again."""

    def __init__(self, nodes: int) -> None:
        self.nodes = cluster(nodes)
        self.queues = queues(8 * nodes)
        self.kept = Pool()
        self.work = Work()
        self.pending: list[Job] = []
        self.active: dict[int, Job] = {}

    def snapshot(self) -> Snapshot:
        return Snapshot(NOW, tuple(self.nodes), self.pending, list(self.active.values()), queues=self.queues)

    def run(self, plan: Plan) -> None:
        """What is to start runs; the rest waits."""
        for start in plan.starts:
            self.active[start.job.id] = replace(
                start.job,
                state=JobState.RUNNING,
                engine=start.engine,
                placements=start.placements,
                started_at=NOW - start.job.id % 3600,
            )
        self.pending = [job for job in self.pending if job.id not in self.active]

    def fill(self, share: float, most: int = 20_000) -> list[tuple[int, float]]:
        """Jobs in batches until `share` of the devices is given away; starts and seconds of each pass."""
        passes: list[tuple[int, float]] = []
        while self.held() < share * 8 * len(self.nodes) and sum(count for count, _ in passes) < most:
            self.pending = self.work.jobs(BATCH)
            plan, seconds = timed(lambda: decide(self.snapshot(), self.kept))
            self.run(plan)
            self.pending = []
            passes.append((len(plan.starts), seconds))
        return passes

    def held(self) -> float:
        return sum(
            len(place.devices) * job.spec.resources.milli / 1000
            for job in self.active.values()
            for place in job.placements
        )


def timed(what: Callable[[], Plan]) -> tuple[Plan, float]:
    """Seconds of this process on its core: others that share the machine do not count."""
    gc.collect()
    began = time.process_time()
    plan = what()
    return plan, time.process_time() - began


def measure(nodes: int, waiting: int) -> tuple[float, float, float, int]:
    """Placements per second; seconds of a pass after one node changed, and with a fresh pool; jobs running."""
    world = World(nodes)
    passes = world.fill(0.9, most=10**9)
    starts = sum(count for count, _ in passes)
    spent = sum(seconds for _, seconds in passes)
    world.pending = world.work.jobs(waiting)
    for _ in range(100):  # until nothing more fits
        plan = decide(world.snapshot(), world.kept)
        world.run(plan)
        if not plan.starts:
            break
    seconds = []
    for turn in range(5):
        world.nodes[7] = replace(world.nodes[7], schedulable=bool(turn % 2))
        seconds.append(timed(lambda: decide(world.snapshot(), world.kept))[1])
    _, fresh = timed(lambda: decide(world.snapshot()))
    return starts / spent, statistics.median(seconds), fresh, len(world.active)


def report_decisions(sizes: Sequence[int], waiting: int) -> list[tuple[int, float, float]]:
    print("| nodes | devices | jobs running | placements/s | pass, one node changed | pass, nothing kept |")
    print("|---:|---:|---:|---:|---:|---:|")
    rows = []
    for nodes in sizes:
        rate, seconds, fresh, running = measure(nodes, waiting)
        rows.append((nodes, rate, seconds))
        print(
            f"| {nodes:,} | {8 * nodes:,} | {running:,} | {rate:,.0f} | {seconds:.2f} s | {fresh:.2f} s |",
            flush=True,
        )
    return rows


def picture(rows: Sequence[tuple[int, float, float]]) -> str:
    """Placements per second and seconds of a pass over the number of nodes, both on logarithmic scales, as SVG."""
    left = _curve(
        [(nodes, rate) for nodes, rate, _ in rows], "placements/s", 1000.0, "wanted at 12,500 nodes: 1,000"
    )
    right = _curve(
        [(nodes, seconds) for nodes, _, seconds in rows], "seconds of a pass", 1.0, "wanted: at most 1 s"
    )
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 900 340" role="img">'
        "<style>text{font:13px system-ui,sans-serif;fill:#333}.axis{stroke:#999}.curve{fill:none;stroke:#2563a8;"
        "stroke-width:2}.dot{fill:#2563a8}.wanted{stroke:#b45309;stroke-dasharray:5 4}"
        "@media(prefers-color-scheme:dark){svg{background:#181a1b}text{fill:#ddd}.curve{stroke:#7ab3ef}"
        f'.dot{{fill:#7ab3ef}}}}</style><g transform="translate(70,30)">{left}</g>'
        f'<g transform="translate(520,30)">{right}</g></svg>\n'
    )


def _curve(points: Sequence[tuple[int, float]], title: str, wanted: float, told: str) -> str:
    wide, high = 340, 250
    values = [value for _, value in points] + [wanted]
    bottom, top = min(values) / 2, max(values) * 2
    first, last = points[0][0], max(points[-1][0], points[0][0] + 1)

    def x(nodes: float) -> float:
        return wide * math.log(nodes / first) / math.log(last / first)

    def y(value: float) -> float:
        return high * (1 - math.log(value / bottom) / math.log(top / bottom))

    line = " ".join(f"{x(nodes):.0f},{y(value):.0f}" for nodes, value in points)
    parts = [
        f'<text x="0" y="-10">{title}</text><path class="axis" fill="none" d="M0 0V{high}H{wide}"/>',
        f'<polyline class="curve" points="{line}"/>',
        f'<path class="wanted" d="M0 {y(wanted):.0f}H{wide}"/><text x="6" y="{y(wanted) - 6:.0f}">{told}</text>',
    ]
    for nodes, value in points:
        shown = f"{value:,.0f}" if value >= 10 else f"{value:.2f}"
        parts.append(f'<circle class="dot" cx="{x(nodes):.0f}" cy="{y(value):.0f}" r="4"/>')
        parts.append(f'<text x="{x(nodes):.0f}" y="{y(value) + 20:.0f}" text-anchor="middle">{shown}</text>')
        parts.append(f'<text x="{x(nodes):.0f}" y="{high + 20}" text-anchor="middle">{nodes:,}</text>')
    return "".join([*parts, f'<text x="{wide / 2}" y="{high + 42}" text-anchor="middle">nodes</text>'])


class AcceptsAll:
    """An engine in memory that takes what it is given and says at once that it runs."""

    name = "pool"

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._nodes = tuple(nodes)
        self.running: dict[Key, Observation] = {}

    def submit(self, orders: Sequence[Order]) -> Mapping[Key, str]:
        self.running.update((order.key, Observation(JobState.RUNNING, started_at=NOW)) for order in orders)
        return {}

    def states(self) -> Mapping[Key, Observation]:
        return dict(self.running)

    def inventory(self) -> tuple[Node, ...]:
        return self._nodes

    def notify(self, wake: Callable[[], None]) -> None:
        """It has no news."""

    def cancel(self, keys: Sequence[Key], *, grace: float) -> None:
        raise NotImplementedError

    def logs(self, key: Key, *, stream: str = "stdout", offset: int = 0, limit: int = 1 << 20) -> bytes:
        raise NotImplementedError

    def close(self) -> None:
        """Nothing is open."""


def persisted(nodes: int, count: int, folder: Path) -> tuple[float, float]:
    """Jobs submitted, placed, recorded and handed over per second, by the clock and by this process's core."""
    database = Database(f"sqlite:///{folder}/stoker.db")
    database.migrate()
    store, engine = JobStore(database), AcceptsAll(cluster(nodes))
    dispatcher = Dispatcher(store, Roster({"pool": engine}), Lease(database), Changes(), SystemClock())
    specs = [replace(spec, queue="") for spec in Work().specs(20 * count) if spec.nodes == 1]
    small = [spec for spec in specs if spec.resources.accelerators < 8][:count]
    dispatcher.start()
    try:
        began, spent = time.perf_counter(), time.process_time()
        for start in range(0, count, BATCH // 2):
            drafts = [Draft(spec) for spec in small[start : start + BATCH // 2]]
            store.add(drafts, tenant="t", owner=f"user-{start}", ship="", at=time.time())
            dispatcher.wake()
        while len(engine.running) < count:
            time.sleep(0.05)
        rates = count / (time.perf_counter() - began), count / (time.process_time() - spent)
    finally:
        dispatcher.stop()
    recorded = sum(store.counts(Filter(states=(JobState.STARTING, JobState.RUNNING))).values())
    if recorded != count:
        sys.exit(f"{recorded} of {count} jobs are recorded as started")
    database.close()
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("decide", "store"))
    parser.add_argument("--nodes", default="")
    parser.add_argument("--waiting", type=int, default=50_000)
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--svg", type=Path)
    options = parser.parse_args()
    if options.what == "decide":
        sizes = [int(size) for size in (options.nodes or "100,1000,5000,12500").split(",")]
        rows = report_decisions(sizes, options.waiting)
        if options.svg:
            options.svg.write_text(picture(rows))
        return
    print("| nodes | jobs | placements/s, by the clock | per second of the processor |\n|---:|---:|---:|---:|")
    for size in (options.nodes or "5000").split(","):
        with tempfile.TemporaryDirectory() as folder:
            by_clock, by_core = persisted(int(size), options.jobs, Path(folder))
        print(f"| {int(size):,} | {options.jobs:,} | {by_clock:,.0f} | {by_core:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
