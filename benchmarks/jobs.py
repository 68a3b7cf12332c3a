"""Jobs: what the platform costs when idle, how soon a job starts, and how it bears a long queue.

    python benchmarks/jobs.py            prints a Markdown table; about two minutes on two cores

Everything goes through the HTTP API of a server process of its own, on a fresh home, on loopback.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from stoker.api.serve import HttpServer
from stoker.app import App
from stoker.client import Client
from stoker.job import JobSpec, Resources

_CPUS = 2
_SENDERS = 8  # connections that submit at once
_BLOCKER = JobSpec(name="blocker", command=("sleep", "3600"), resources=Resources(cpus=_CPUS), grace=0.0)


@dataclass(frozen=True)
class Row:
    what: str
    measured: str
    wanted: str


@dataclass(frozen=True)
class Platform:
    process: subprocess.Popen[str]
    client: Client


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=10_000, help="length of the queue")
    parser.add_argument("--starts", type=int, default=30, help="jobs whose start is timed")
    parser.add_argument("--serve", metavar="HOME", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        _serve(Path(given.serve))
        return
    with tempfile.TemporaryDirectory(prefix="stoker-bench-") as folder:
        _print(_measure(Path(folder) / "home", given.jobs, given.starts))


def _measure(home: Path, jobs: int, starts: int) -> list[Row]:
    platform, _ = _start(home)
    try:
        rows = [*_idle(platform), _submit_to_start(platform, starts)]
        (blocker,) = platform.client.jobs.submit(_BLOCKER)
        rows += _queue(platform, jobs)
        platform.process.send_signal(signal.SIGKILL)
        platform.process.wait()
        rows.append(_scheduling_pass(home, jobs))
        platform, seconds = _start(home, platform.client.login.api_key)
        waiting = platform.client.jobs.list(limit=1)
        rows.append(Row(f"restart after kill -9 with {jobs:,} jobs, until answers", f"{seconds:.2f} s", "≤ 3 s"))
        assert waiting
        platform.client.jobs.cancel(blocker.id)
        return rows
    finally:
        platform.process.send_signal(signal.SIGKILL)
        platform.process.wait()
        _end_jobs(home)


def _serve(home: Path) -> None:
    """The server process: the platform as `stoker up` runs it."""
    app = App.open(home, cpus=_CPUS)
    server = HttpServer(app, port=0)
    secret = app.accounts.bootstrap()
    app.start()
    server.run(ready=lambda url: print(json.dumps({"url": url, "key": secret}), flush=True))


def _start(home: Path, key: str = "") -> tuple[Platform, float]:
    """A server on `home`, and the seconds until it answered a request."""
    began = time.perf_counter()
    command = [sys.executable, __file__, "--serve", str(home)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    told = json.loads(process.stdout.readline())
    client = Client(told["url"], told["key"] or key)
    client.jobs.list(limit=1)
    return Platform(process, client), time.perf_counter() - began


def _idle(platform: Platform) -> list[Row]:
    server = psutil.Process(platform.process.pid)
    time.sleep(2)
    before = server.cpu_times()
    time.sleep(5)
    after = server.cpu_times()
    used = (after.user + after.system - before.user - before.system) / 5
    return [
        Row("idle memory (RSS)", f"{server.memory_info().rss / 1e6:.0f} MB", "≤ 200 MB"),
        Row("idle CPU", f"{used * 100:.1f} % of one core", ""),
    ]


def _submit_to_start(platform: Platform, count: int) -> Row:
    delays = []
    for _ in range(count):
        asked = time.time()
        (job,) = platform.client.jobs.submit(JobSpec(command=("true",)))
        (over,) = platform.client.jobs.wait(job.id)
        assert over.started_at is not None
        delays.append(over.started_at - asked)
    worst = statistics.quantiles(delays, n=20)[-1]
    measured = f"{statistics.median(delays) * 1e3:.0f} ms median, {worst * 1e3:.0f} ms p95"
    return Row("submit to start, idle engine", measured, "≤ 300 ms median")


def _queue(platform: Platform, jobs: int) -> list[Row]:
    """Half of the jobs one by one, half in batches; none of them can start."""
    half = jobs // 2
    singly = _timed_singly(platform, _specs(half))
    began = time.perf_counter()
    platform.client.jobs.submit(*_specs(jobs - half))
    together = time.perf_counter() - began
    return [
        Row(f"{jobs:,} jobs, one a request, {_SENDERS} connections", f"{singly * jobs / half:.1f} s", "≤ 30 s"),
        Row(f"{jobs:,} jobs through the client, in batches", f"{together * jobs / (jobs - half):.1f} s", "≤ 30 s"),
    ]


def _timed_singly(platform: Platform, specs: Sequence[JobSpec]) -> float:
    login = platform.client.login
    headers = {"Authorization": f"Bearer {login.api_key}"}
    with httpx.Client(base_url=login.url, headers=headers, timeout=60) as http:

        def send(spec: JobSpec) -> None:
            body = {"name": spec.name, "command": list(spec.command), "resources": {"cpus": spec.resources.cpus}}
            http.post("/api/v1/jobs", json=body).raise_for_status()

        began = time.perf_counter()
        with ThreadPoolExecutor(_SENDERS) as senders:
            list(senders.map(send, specs))
        return time.perf_counter() - began


def _specs(count: int) -> list[JobSpec]:
    return [
        JobSpec(name=f"job-{number}", command=("true",), resources=Resources(cpus=1 + number % _CPUS))
        for number in range(count)
    ]


def _scheduling_pass(home: Path, jobs: int) -> Row:
    """The whole pass of the dispatcher: load what changed, ask the engine, decide, apply."""
    app = App.open(home, cpus=_CPUS)
    try:
        app.dispatcher.tick()
        seconds = []
        for _ in range(5):
            began = time.perf_counter()
            app.dispatcher.tick()
            seconds.append(time.perf_counter() - began)
        assert len(app.dispatcher.waits) == jobs
    finally:
        app.stop()
    return Row(
        f"scheduling pass over {jobs:,} pending jobs", f"{statistics.median(seconds) * 1e3:.0f} ms", "≤ 200 ms"
    )


def _end_jobs(home: Path) -> None:
    app = App.open(home, cpus=_CPUS)
    engine = app.roster["local"]
    engine.cancel([key for key, seen in engine.states().items() if not seen.state.final], grace=0)
    while not all(seen.state.final for seen in engine.states().values()):
        time.sleep(0.05)
    app.stop()


def _print(rows: Sequence[Row]) -> None:
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}\n")
    print("| what | measured | wanted |\n|---|---|---|")
    for row in rows:
        print(f"| {row.what} | {row.measured} | {row.wanted} |")


if __name__ == "__main__":
    main()
