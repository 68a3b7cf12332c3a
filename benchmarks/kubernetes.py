"""Kubernetes: what going through Stoker costs over `kubectl create`, at once and by the thousand.

    python benchmarks/kubernetes.py      prints a Markdown table; about four minutes on two cores

A real control plane and the test kubelet (tests/labs); the pods run no process. Stoker is the whole platform with a
home of its own, in this process, its jobs given to the desk that the API gives them to. Plain creation is `kubectl`
where there is one, one call for all pods, and the same number of calls under way as we have, with our own client.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.labs.kubernetes import Kubernetes, NodeSpec, why_not

from stoker.app import App
from stoker.control.courier import Courier
from stoker.control.rights import platform
from stoker.engine_config import EngineConfig
from stoker.engines.kubernetes import KubernetesEngine
from stoker.engines.kubernetes.api import Api
from stoker.engines.kubernetes.kubeconfig import read_access
from stoker.engines.kubernetes.mirror import Mirror
from stoker.job import JobSpec, Resources

ADMIN = platform("bench", "bench")
_IMAGE = "lab/sleep-3600"
_AT_ONCE = 32
_NODES = 128


class Watcher(threading.Thread):
    """Sees every pod of the cluster by a watch of its own, and when each was there and when it ran."""

    def __init__(self, kubeconfig: Path) -> None:
        super().__init__(daemon=True)
        self._kubeconfig = kubeconfig
        self.made: dict[str, float] = {}
        self.ran: dict[str, float] = {}
        self.start()

    def run(self) -> None:
        asyncio.run(self._run())

    async def _run(self) -> None:
        access = read_access(str(self._kubeconfig), "")
        await Mirror(Api(access, lambda: access), ("/api/v1/pods",), lambda pod: pod, self._told).run()

    def _told(self, pod: dict[str, Any], gone: bool) -> None:
        name, now = pod["metadata"]["uid"], time.perf_counter()
        if not gone:
            self.made.setdefault(name, now)
            if pod.get("status", {}).get("phase") == "Running":
                self.ran.setdefault(name, now)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1000, help="jobs of the long run")
    parser.add_argument("--starts", type=int, default=20, help="jobs whose start is timed")
    given = parser.parse_args()
    if reason := why_not():
        sys.exit(reason)
    with tempfile.TemporaryDirectory(prefix="stoker-bench-") as folder:
        nodes = {f"gpu{index:03}": NodeSpec() for index in range(_NODES)}
        with Kubernetes(Path(folder) / "cluster", nodes, beat_s=10.0) as cluster:
            cluster.namespace("stoker")
            cluster.namespace("plain")
            rows = measure(cluster, Path(folder) / "home", given.jobs, given.starts)
    print(f"\n{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {_NODES} nodes\n")
    print("| what | measured | wanted |\n|---|---:|---:|")
    for row in rows:
        print(f"| {' | '.join(row)} |")


def measure(cluster: Kubernetes, home: Path, jobs: int, starts: int) -> list[tuple[str, str, str]]:
    watcher = Watcher(cluster.kubeconfig)
    app = App.open(home)
    settings = {"kubeconfig": str(cluster.kubeconfig), "image": _IMAGE}
    app.start()
    app.engines.add(EngineConfig("k8s", "kubernetes", settings=settings), ADMIN)
    wait(lambda: len(app.nodes(ADMIN)) > _NODES)
    try:
        plain, ours = [], []
        for _ in range(starts):  # in turn, so that both meet the same machine
            plain.append(timed(watcher.ran, lambda: create_plain(cluster, 1)))
            ours.append(timed(watcher.ran, lambda: submit(app, 1)))
        by_kubectl = rate(watcher.made, jobs, lambda: kubectl(cluster, home.parent, jobs))
        clear(cluster, "plain")
        by_client = rate(watcher.made, jobs, lambda: create_plain(cluster, jobs))
        clear(cluster, "plain")
        by_stoker = rate(watcher.made, jobs, lambda: submit(app, jobs))
        wait(lambda: running(app) >= jobs)
        calls, asked = per_minute(app)
    finally:
        app.stop()
    told = statistics.median(ours) - statistics.median(plain)
    of_kubectl = f"{by_stoker / by_kubectl:.2f} of kubectl's ({by_kubectl:.0f}/s)" if by_kubectl else "no kubectl"
    return [
        ("submit to running, plain create", f"{statistics.median(plain) * 1e3:.0f} ms median", ""),
        ("submit to running, through Stoker", f"{statistics.median(ours) * 1e3:.0f} ms median", ""),
        ("what Stoker adds", f"{told * 1e3:.0f} ms", "<= 300 ms"),
        (f"{jobs:,} jobs, pods made a second", f"{by_stoker:.0f}", ""),
        ("of that rate: `kubectl create` of one file", of_kubectl, ">= 0.8"),
        (f"of that rate: plain calls, {_AT_ONCE} at once", f"{by_stoker / by_client:.2f} ({by_client:.0f}/s)", ""),
        (f"calls a minute with {jobs:,} running jobs", f"{calls:.0f} (asked {asked:.0f} times)", "constant"),
    ]


def timed(seen: dict[str, float], begin: Callable[[], None]) -> float:
    """Seconds from `begin` until one more pod is seen."""
    before, began = len(seen), time.perf_counter()
    begin()
    wait(lambda: len(seen) > before)
    return max(seen.values()) - began


def rate(seen: dict[str, float], count: int, begin: Callable[[], bool | None]) -> float:
    """Pods a second until `count` more are there; 0 when it could not begin."""
    before, began = len(seen), time.perf_counter()
    if begin() is False:
        return 0.0
    wait(lambda: len(seen) >= before + count, 300)
    return count / (max(seen.values()) - began)


def submit(app: App, count: int) -> None:
    spec = JobSpec(
        name="bench", command=("sleep",), resources=Resources(cpus=1), engine="k8s", array=tuple(range(count))
    )
    app.jobs.submit([spec], ADMIN)


def manifest(number: int) -> dict[str, Any]:
    container = {"name": "main", "image": _IMAGE, "command": ["sleep"], "resources": {"requests": {"cpu": "1"}}}
    meta = {"name": f"plain-{time.monotonic_ns()}-{number}", "namespace": "plain"}
    spec = {"restartPolicy": "Never", "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


def create_plain(cluster: Kubernetes, count: int) -> None:
    async def create() -> None:
        access = read_access(str(cluster.kubeconfig), "")
        api = Api(access, lambda: access)
        pods = [manifest(number) for number in range(count)]
        await asyncio.gather(*(api.create("/api/v1/namespaces/plain/pods", pod) for pod in pods))
        await api.close()

    asyncio.run(create())


def kubectl(cluster: Kubernetes, folder: Path, count: int) -> bool:
    program = shutil.which("kubectl")
    if program is None:
        return False
    file = folder / "pods.json"
    pods = [manifest(number) for number in range(count)]
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": pods}))
    command = [program, "--kubeconfig", str(cluster.kubeconfig), "create", "--validate=false", "-f", str(file)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return True


def clear(cluster: Kubernetes, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/pods"
    cluster.call("DELETE", f"{path}?gracePeriodSeconds=0")
    wait(lambda: not cluster.items(path))


def running(app: App) -> int:
    states = app.roster["k8s"].states().values()
    return sum(seen.state == "running" for seen in states)


def per_minute(app: App) -> tuple[float, float]:
    """Requests to the API server a minute, and how often the courier asked the engine."""
    courier = app.roster["k8s"]
    assert isinstance(courier, Courier)
    engine = courier.behind
    assert isinstance(engine, KubernetesEngine)
    time.sleep(5)
    calls, asked, began = engine.calls, courier.calls, time.monotonic()
    time.sleep(60)
    minutes = (time.monotonic() - began) / 60
    return (engine.calls - calls) / minutes, (courier.calls - asked) / minutes


def wait(wanted: Callable[[], bool], seconds: float = 120.0) -> None:
    until = time.monotonic() + seconds
    while not wanted():
        if time.monotonic() > until:
            raise TimeoutError("what was waited for did not come")
        time.sleep(0.002)


if __name__ == "__main__":
    main()
