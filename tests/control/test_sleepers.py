"""Replicas that sleep: their devices are lent, and taken back; against a server that speaks vLLM's sleep mode."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from stoker.account import Account, Role
from stoker.app import App
from stoker.control import replica_keeper
from stoker.control.lending import Counted
from stoker.control.replicas import SLEEPS
from stoker.endpoint import Endpoint, ReplicaState, Scaling
from stoker.job import Job, JobKind, JobSpec, JobState, Resources
from stoker.model import ModelVersion
from stoker.serve import decide as serving
from tests.control.conftest import stop_all
from tests.control.test_lending import until

ANN = Account("ak-ann", "ann", Role.USER, "speech", 0.0)

# vLLM 0.10's answers: /sleep and /wake_up are empty 200s, /is_sleeping is JSON. `bad` cannot wake up.
_SERVER = """
import http.server, json, pathlib, sys
import stoker.probe as probe

class Engine(http.server.BaseHTTPRequestHandler):
    asleep = False

    def do_GET(self):
        assert self.path == "/is_sleeping"
        self.answer(200, json.dumps({"is_sleeping": Engine.asleep}).encode())

    def do_POST(self):
        path, _, query = self.path.partition("?")
        if path == "/sleep" and query == "level=1":
            Engine.asleep = True
        elif path == "/wake_up" and not pathlib.Path(sys.argv[1]).exists():
            Engine.asleep = False
        else:
            return self.answer(500, b"")
        self.answer(200, b"")

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

server = http.server.HTTPServer(("127.0.0.1", 0), Engine)
probe.ready(f"http://127.0.0.1:{server.server_port}")
server.serve_forever()
"""


class Site:
    """Four devices, an endpoint with two replicas of which one may sleep, and trainings that take the rest."""

    def __init__(self, app: App, broken: Path) -> None:
        self.app = app
        self.broken = broken  # while it is there, no replica wakes up
        self.in_flight: Counter[int] = Counter()

    @property
    def endpoint(self) -> Endpoint:
        return self.app.endpoints.get("bot", ANN)

    def states(self) -> list[ReplicaState]:
        return sorted(one.state for one in self.endpoint.replicas)

    def until_states(self, *states: ReplicaState) -> None:
        until(self.app, lambda: self.states() == sorted(states))

    def load(self, count: int) -> None:
        self.in_flight.clear()
        if count:
            self.in_flight[self.endpoint.replicas[0].job] = count

    def train(self, count: int, **changes: object) -> list[Job]:
        spec = JobSpec(
            command=("sleep", "600"),
            resources=Resources(accelerators=1, cpus=0),
            **{"priority": 20, "preemptible": True, "min_runtime": 0.0, "grace": 5.0, **changes},  # type: ignore[arg-type]
        )
        return self.app.jobs.submit([spec] * count, ANN)

    def running(self, jobs: list[Job]) -> int:
        return sum(self.app.jobs.get(job.id, ANN).state is JobState.RUNNING for job in jobs)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    broken = tmp_path / "broken"

    def replica(_endpoint: Endpoint, _version: ModelVersion, attached: str, _largest: object) -> JobSpec:
        return JobSpec(
            name="bot@1",
            command=(sys.executable, "-c", _SERVER, str(broken)),
            kind=JobKind.SERVICE,
            resources=Resources(accelerators=1, cpus=0),
            priority=80,
            requeue=True,
            grace=5.0,
            attached=attached,
            labels={SLEEPS: "yes"},
        )

    monkeypatch.setattr(replica_keeper, "replica_spec", replica)
    monkeypatch.setattr(serving, "DRAIN_S", 0.0)
    app = App.open(tmp_path / "home", devices="H100:4", cpus=8)
    draft = ModelVersion("bot", 0, 0.0, artifact="none", engine="vllm", base="base")
    app.endpoints._registry.register(draft, key="1", tenant="speech")
    made = Site(app, broken)
    app.lending.observe(made.in_flight, lambda _name: Counted((), (0,), (0,)))
    app.start()
    app.endpoints.deploy("bot", 1, ANN, scaling=Scaling(1, 2, target=1.0, window=0.0, sleep=1))
    made.until_states(ReplicaState.READY)
    yield made
    stop_all(app)


@pytest.mark.slow
def test_the_devices_of_a_sleeper_are_lent_and_taken_back(site: Site) -> None:
    site.load(2)
    site.until_states(ReplicaState.READY, ReplicaState.READY)
    jobs = {one.job for one in site.endpoint.replicas}
    lent = site.train(3)  # two devices are free
    site.load(0)
    site.until_states(ReplicaState.ASLEEP, ReplicaState.READY)
    until(site.app, lambda: site.running(lent) == 3)

    site.load(2)
    site.until_states(ReplicaState.READY, ReplicaState.READY)
    assert site.running(lent) == 2
    assert {one.job for one in site.endpoint.replicas} == jobs  # woken, not started anew
    told = site.app.reclaims.of("bot", ANN).measured
    assert told is not None
    assert told.count == 1
    assert told.answer_p50 >= told.device_p50 > 0.0

    site.app.endpoints.stop("bot", ANN)
    until(site.app, lambda: site.running(lent) == 3)


@pytest.mark.slow
def test_one_that_cannot_wake_is_replaced(site: Site) -> None:
    site.load(2)
    site.until_states(ReplicaState.READY, ReplicaState.READY)
    before = {one.job for one in site.endpoint.replicas}
    site.load(0)
    site.until_states(ReplicaState.ASLEEP, ReplicaState.READY)
    kept = site.train(3, preemptible=False)  # takes the sleeper's device for good
    until(site.app, lambda: site.running(kept) == 3)
    site.load(2)
    until(site.app, lambda: not {one.job for one in site.endpoint.replicas} >= before)
    site.app.jobs.cancel([kept[0].id], ANN)
    site.until_states(ReplicaState.READY, ReplicaState.READY)

    site.load(0)
    site.until_states(ReplicaState.ASLEEP, ReplicaState.READY)
    site.broken.touch()
    before = {one.job for one in site.endpoint.replicas}
    site.load(2)
    site.until_states(ReplicaState.READY, ReplicaState.READY)
    assert {one.job for one in site.endpoint.replicas} != before
