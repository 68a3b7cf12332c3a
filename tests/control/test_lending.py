"""Replicas that follow the load: what they do not need is lent to training, and taken back."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stoker.account import Account, Role
from stoker.app import App
from stoker.clock import ManualClock
from stoker.control import replica_keeper
from stoker.control.lending import Counted, Lending, LoadBook, _quantile
from stoker.endpoint import ReplicaState, Scaling
from stoker.job import JobKind, JobSpec, JobState, Resources
from stoker.model import ModelVersion
from stoker.reclaim import Reclaim
from stoker.schedule import Policy
from stoker.serve import decide as serving
from tests.control.conftest import stop_all

ANN = Account("ak-ann", "ann", Role.USER, "speech", 0.0)
ADMIN = Account("ak-root", "root", Role.ADMIN, "default", 0.0)
BOUNDS = (0.1, 1.0, 10.0)


def test_quantiles_lie_within_their_bucket() -> None:
    assert _quantile(BOUNDS, [0, 0, 0, 0], [0, 0, 0, 0]) is None
    assert _quantile(BOUNDS, [5, 0, 0, 0], [5, 100, 0, 0]) == pytest.approx(0.1 + 0.9 * 0.95)
    assert _quantile(BOUNDS, [0, 0, 0, 0], [0, 0, 0, 3]) == 10.0


def test_a_book_keeps_the_peaks_of_its_spans_and_the_latency_of_late() -> None:
    book = LoadBook(0.0)
    for second in range(25):
        book.note(float(second), 9 if second == 3 else 1, Counted(BOUNDS, (0, second, 0, 0), (0, 0, 0, 0)))
    loads = book.loads(24.5)
    assert [(load.at, load.in_flight) for load in loads] == [(10.0, 9), (20.0, 1), (24.5, 1)]
    assert loads[-1].ttft == pytest.approx(0.1 + 0.9 * 0.95)
    assert loads[-1].tpot is None
    assert (book.full(24.5, 20.0), book.full(24.5, 30.0)) == (True, False)


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    """Four devices. A replica is a little server that says where it listens."""
    monkeypatch.setattr(replica_keeper, "replica_spec", _little_server)
    monkeypatch.setattr(serving, "DRAIN_S", 0.0)
    app = App.open(tmp_path / "home", devices="H100:4", cpus=8)
    app.endpoints._registry.register(
        ModelVersion("bot", 0, 0.0, artifact="none", engine="vllm", base="base"), key="1", tenant="speech"
    )
    yield app
    stop_all(app)


def _little_server(endpoint: object, version: ModelVersion, attached: str, largest: object) -> JobSpec:
    del endpoint, version, largest
    program = (
        "import http.server, stoker.probe as probe\n"
        "server = http.server.HTTPServer(('127.0.0.1', 0), http.server.BaseHTTPRequestHandler)\n"
        "probe.ready(f'http://127.0.0.1:{server.server_port}')\n"
        "server.serve_forever()\n"
    )
    return JobSpec(
        name="bot@1",
        command=(sys.executable, "-c", program),
        kind=JobKind.SERVICE,
        resources=Resources(accelerators=1, cpus=0),
        priority=80,
        requeue=True,
        grace=5.0,
        attached=attached,
    )


def until(app: App, wanted: Callable[[], bool]) -> None:
    for _ in range(1200):
        seen = app.jobs.changed
        if wanted():
            return
        app.jobs.wait_change(seen, 0.1)
    raise AssertionError([(job.id, job.state, job.message) for job in app.jobs.find(ANN)])


def test_devices_are_lent_to_training_and_taken_back_when_load_rises(app: App) -> None:
    in_flight: Counter[int] = Counter()
    app.lending.observe(in_flight, lambda _name: Counted((), (0,), (0,)))
    app.start()
    app.endpoints.deploy("bot", 1, ANN, scaling=Scaling(1, 3, target=1.0, window=0.0))
    until(app, lambda: len(app.endpoints.get("bot", ANN).ready) == 1)
    (first,) = app.endpoints.get("bot", ANN).ready
    training = JobSpec(
        command=("sleep", "600"),
        resources=Resources(accelerators=1, cpus=0),
        priority=20,
        preemptible=True,
        min_runtime=0.0,
        grace=5.0,
    )
    lent = [job.id for job in app.jobs.submit([training] * 3, ANN)]

    def running() -> set[int]:
        return {job for job in lent if app.jobs.get(job, ANN).state is JobState.RUNNING}

    until(app, lambda: running() == set(lent))
    assert app.reclaims.of("bot", ANN) == Reclaim(replicas=2, devices=2, free=0, within=6.0)

    in_flight[first.job] = 3  # three at once, and one replica answers one well
    until(app, lambda: len(app.endpoints.get("bot", ANN).ready) == 3)
    assert len(running()) == 1
    waiting = [job for job in lent if app.jobs.get(job, ANN).state is JobState.PENDING]
    assert len(waiting) == 2  # they were preempted, and wait for their next turn
    assert all(any(event.reason == "Preempted" for event in app.jobs.events(job, ANN)) for job in waiting)

    told = app.reclaims.of("bot", ANN)
    assert (told.replicas, told.measured and told.measured.count) == (0, 2)
    assert all(one.answer >= one.device >= 0.0 for one in app.endpoints.get("bot", ANN).returns)

    in_flight.clear()
    until(app, lambda: running() == set(lent))
    endpoint = app.endpoints.get("bot", ANN)
    assert (endpoint.wanted, endpoint.cause) == (1, "floor")

    app.policy.put(Policy(lend=False), ADMIN)
    until(app, lambda: app.endpoints.get("bot", ANN).wanted == 3)


@pytest.mark.slow
def test_the_last_replica_goes_when_nobody_asks_and_comes_when_somebody_waits(app: App) -> None:
    held: Counter[str] = Counter()
    app.lending.observe({}, lambda _name: Counted((), (0,), (0,)), held)
    app.start()
    app.endpoints.deploy("bot", 1, ANN, scaling=Scaling(0, 2, window=0.0, idle=1.0))
    until(app, lambda: len(app.endpoints.get("bot", ANN).ready) == 1)
    until(app, lambda: not app.endpoints.get("bot", ANN).replicas)
    endpoint = app.endpoints.get("bot", ANN)
    assert (endpoint.wanted, endpoint.version, app.endpoints.route("bot", "speech")) == (0, 1, [])
    assert app.endpoints.patience("bot") == app.endpoints.patience("bot@1") == 120.0
    assert app.endpoints.patience("bot@2") == app.endpoints.patience("other") == 0.0

    held["bot"] = 1
    until(app, lambda: bool(app.endpoints.route("bot", "speech")))
    held.clear()
    until(app, lambda: not app.endpoints.get("bot", ANN).replicas)
    # A shipment that verifies the very version brings a replica up again, whatever the load.
    app.endpoints.bring_up("bot", 1, tenant="speech", owner="ann", switch=False)
    until(app, lambda: app.endpoints.standing("bot", 1)[0] is not None)


def test_after_a_restart_no_replica_goes_before_its_window_is_over(tmp_path: Path) -> None:
    clock = ManualClock()
    app = App.open(tmp_path / "home", cpus=2)
    lending = Lending(app.endpoints, clock)
    app.endpoints._registry.register(
        ModelVersion("bot", 0, 0.0, artifact="none", engine="vllm", base="base"), key="1", tenant="speech"
    )
    app.endpoints.deploy("bot", 1, ANN, scaling=Scaling(1, 4, window=300.0))
    app.endpoints.switch("bot", 1)
    app.endpoints.resize("bot", 3, "load")
    lending.step()
    assert app.endpoints.get("bot", ANN).wanted == 3
    clock.advance(301.0)
    lending.step()
    assert app.endpoints.get("bot", ANN).wanted == 1
    app.endpoints.resize("bot", 9, "load")
    assert app.endpoints.get("bot", ANN).wanted == 4
    assert all(one.state is not ReplicaState.READY for one in app.endpoints.get("bot", ANN).replicas)
    app.stop()
