"""Endpoints when people, the loop and crashes meet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest

from stoker.account import Account, Role
from stoker.app import App
from stoker.control.changes import Changes
from stoker.control.endpoint_book import EndpointBook
from stoker.control.rights import platform
from stoker.control.routes import Routes
from stoker.endpoint import Endpoint, EndpointSettings, Replica, ReplicaState, Scaling
from stoker.engine import Key
from stoker.errors import Away, BadInput, Conflict, NotFound
from stoker.job import Job, JobKind
from stoker.model import ModelVersion
from stoker.queue import Queue
from stoker.store.database import Database
from stoker.store.endpoints import EndpointStore, KeptEndpoint

ANN = Account("ak-ann", "ann", Role.USER, "speech", 0.0)
BOB = Account("ak-bob", "bob", Role.USER, "vision", 0.0)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """Its loops are not started: the tests take the steps one by one, and jobs stay in the queue."""
    app = App.open(tmp_path_factory.mktemp("platform") / "home", cpus=4)
    for number in (1, 2):
        draft = ModelVersion("bot", 0, 0.0, artifact="none", engine="llama.cpp", base="base")
        app.endpoints._registry.register(draft, key=str(number), tenant="speech")
    yield app
    app.stop()


@pytest.fixture(autouse=True)
def clean(app: App) -> Iterator[None]:
    yield
    for kept in app.endpoint_book.all():
        app.endpoint_book._store.remove(kept.endpoint.name, kept.revision)
    app.jobs.cancel([job.id for job in services(app)], platform())


def services(app: App) -> list[Job]:
    """The replicas' jobs that have not ended."""
    return [job for job in app.jobs.find(platform(), kind=JobKind.SERVICE, limit=1000) if not job.state.final]


def answering(app: App, version: int, **changes: object) -> Endpoint:
    """An endpoint whose replica of `version` is ready."""
    app.endpoints.deploy("bot", version, ANN)
    app.replicas.reconcile()
    (job,) = services(app)
    ready = Replica(job.id, version, ReplicaState.READY, url="http://127.0.0.1:9")
    made = replace(app.endpoints.get("bot", ANN), version=version, candidate=None, switch=False, replicas=(ready,))
    return app.endpoint_book.change("bot", lambda _: replace(made, **changes))  # type: ignore[arg-type]


def test_a_replica_started_for_an_endpoint_that_was_changed_meanwhile_is_ended(app: App) -> None:
    app.endpoints.deploy("bot", 1, ANN)
    (kept,) = app.endpoint_book.all()
    app.endpoints.deploy("bot", 1, ANN, replicas=2)  # somebody is faster than the pass that goes on now
    assert app.replicas._reconcile(kept) == 0.0
    assert services(app) == []
    app.replicas.reconcile()
    assert sorted(job.id for job in services(app)) == sorted(
        one.job for one in app.endpoints.get("bot", ANN).replicas
    )
    assert len(list(app.home.secrets.iterdir())) >= 2


def test_a_pass_that_was_killed_before_it_was_noted_starts_nothing_twice(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.endpoints.deploy("bot", 1, ANN)
    (kept,) = app.endpoint_book.all()
    first = app.replicas._start(kept.endpoint, 1, kept.revision)
    # After the restart the node has not told of itself yet.
    monkeypatch.setattr(app.replicas, "_largest_node", lambda _engine: None)
    assert app.replicas._start(kept.endpoint, 1, kept.revision).replicas[0].job == first.replicas[0].job


def test_two_versions_started_in_one_pass_are_two_jobs(app: App) -> None:
    failed = Replica(1, 1, ReplicaState.FAILED)
    endpoint = Endpoint(
        "bot", "speech", "ann", version=1, wanted=1, created_at=5.0, replicas=(failed,), candidate=2
    )
    both = app.replicas._start(endpoint, 2, 7)
    both = app.replicas._start(app.replicas._forget(both, 1), 1, 7)
    assert len({one.job for one in both.replicas}) == 2


def test_an_endpoint_that_was_asked_for_meanwhile_is_not_removed(app: App) -> None:
    app.endpoints.deploy("bot", 1, ANN)
    app.endpoint_book.change("bot", lambda one: replace(one, candidate=None))
    (kept,) = app.endpoint_book.all()
    app.endpoints.deploy("bot", 2, ANN)
    app.endpoint_book.remove_if_done(kept)
    assert app.endpoints.get("bot", ANN).candidate == 2


def test_one_endpoint_in_trouble_does_not_stop_the_others(app: App) -> None:
    lost = Endpoint("aaa", "speech", "ann", version=1, wanted=1, created_at=0.0)  # its model is not registered
    assert app.endpoint_book.add(lost)
    assert not app.endpoint_book.add(lost)
    app.endpoints.deploy("bot", 1, ANN)
    assert app.replicas.reconcile() > 0.0
    assert app.endpoints.get("bot", ANN).replicas
    assert "no version 1" in app.endpoints.get("aaa", ANN).message


class Overtaken(EndpointStore):
    """What it reads first is changed by somebody else before it is shown."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.overtake: Callable[[], object] | None = None
        self.other = Thread()

    def all(self) -> list[KeptEndpoint]:
        found = super().all()
        if self.overtake is not None:
            other, self.overtake = Thread(target=self.overtake), None
            other.start()
            other.join(0.5)  # as far as it gets before the first one goes on
            self.other = other
        return found


def test_two_changes_at_once_leave_the_gateway_with_the_later_one(app: App) -> None:
    store = Overtaken(app.database)
    book = EndpointBook(store, Changes())
    assert book.add(Endpoint("bot", "speech", "ann", version=1, wanted=1, created_at=0.0))
    store.overtake = lambda: book.change("bot", lambda one: replace(one, wanted=3))
    book.change("bot", lambda one: replace(one, wanted=2))
    store.other.join()
    assert [one.wanted for one in book.routes.live()] == [3]


def test_asking_for_the_version_that_answers_takes_back_what_was_to_follow(app: App) -> None:
    answering(app, 1)
    app.endpoints.deploy("bot", 2, ANN)
    assert app.endpoints.get("bot", ANN).candidate == 2
    app.endpoints.deploy("bot", 1, ANN)
    assert app.endpoints.get("bot", ANN).candidate is None


def test_bounds_change_without_a_new_version_and_stay_with_the_next(app: App) -> None:
    answering(app, 1)
    app.endpoints.scale("bot", EndpointSettings(Scaling(2, 5, reserve=1)), ANN)
    scaled = app.endpoints.get("bot", ANN)
    assert (scaled.wanted, scaled.candidate, scaled.scaling.ceiling) == (2, None, 5)
    app.endpoints.deploy("bot", 2, ANN)
    assert app.endpoints.get("bot", ANN).scaling == scaled.scaling
    app.endpoints.switch("bot", 2, EndpointSettings(Scaling(0, 3), "web"))
    assert app.endpoints.get("bot", ANN).scaling == Scaling(0, 3)
    assert (app.endpoints.get("bot", ANN).queue, app.endpoints.get("bot", ANN).wanted) == ("web", 2)
    with pytest.raises(NotFound):
        app.endpoints.scale("bot", EndpointSettings(), BOB)


@pytest.fixture
def queues(app: App) -> Iterator[None]:
    admin = replace(ANN, role=Role.ADMIN)
    app.queues.put([Queue("speech"), Queue("vision", tenants=("vision",))], admin)
    yield
    for name in ("speech", "vision"):
        app.queues.remove(name, admin)


@pytest.mark.usefixtures("queues")
def test_a_queue_that_is_not_there_is_said_at_once(app: App) -> None:
    """Else the replicas would fail one after the other, and only the endpoint's message would tell."""
    for wrong in ("speach", "vision"):
        with pytest.raises(BadInput, match=f'no queue "{wrong}"'):
            app.endpoints.deploy("bot", 1, ANN, queue=wrong)
    assert app.endpoints.find(ANN) == []
    app.endpoints.deploy("bot", 1, ANN, queue="speech")
    with pytest.raises(BadInput, match='no queue "speach"'):
        app.endpoints.scale("bot", EndpointSettings(queue="speach"), ANN)
    assert app.endpoints.get("bot", ANN).queue == "speech"


def test_what_is_being_verified_stays_when_the_old_version_is_asked_for(app: App) -> None:
    answering(app, 1)
    app.endpoints.bring_up("bot", 2, tenant="speech", owner="ann", switch=False)
    app.endpoints.deploy("bot", 1, ANN)
    assert app.endpoints.get("bot", ANN).candidate == 2


def test_a_version_that_is_not_there_is_unknown_and_one_that_comes_is_not(app: App) -> None:
    answering(app, 1)
    assert [one.version for one in app.endpoints.route("bot@1", "speech")] == [1]
    for name in ("bot@2", "bot@None", "bot@x"):
        with pytest.raises(NotFound):
            app.endpoints.route(name, "speech")
    app.endpoints.deploy("bot", 2, ANN)
    assert app.endpoints.route("bot@2", "speech") == []


def test_a_replica_on_another_machine_gets_no_request_before_a_way_there_is_known() -> None:
    there = Replica(7, 1, ReplicaState.READY, attempt=2, url="http://0.0.0.0:9")
    endpoint = Endpoint("bot", "speech", "ann", version=1, wanted=1, created_at=0.0, replicas=(there,))
    routes = Routes()
    routes.refresh([endpoint])
    assert routes.route("bot", "speech") == []
    routes.reach({(7, 1): "http://10.0.0.1:9"})  # of the attempt before
    routes.refresh([endpoint])
    assert routes.route("bot", "speech") == []
    routes.reach({(7, 2): "http://10.0.0.2:9"})
    routes.refresh([endpoint])
    assert [one.url for one in routes.route("bot", "speech")] == ["http://10.0.0.2:9"]


def test_another_tenants_endpoint_and_model_look_as_if_there_were_none(app: App) -> None:
    app.endpoints.deploy("bot", 1, ANN)
    for ask in (app.endpoints.get, app.endpoints.stop, lambda name, who: app.endpoints.deploy(name, 1, who)):
        told = []
        for name in ("bot", "not"):
            with pytest.raises(NotFound) as error:
                ask(name, BOB)
            told.append(str(error.value).replace(name, "*"))
        assert told[0] == told[1]
    with pytest.raises(Conflict):
        app.endpoints.bring_up("bot", 1, tenant="vision", owner="bob", switch=False)


def test_a_key_is_written_whole(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_file: Path, _text: str) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        with pytest.raises(OSError, match="No space"):
            app.replicas._keys.file("occasion")
    key = app.replicas._keys.file("occasion")
    assert len(key.read_text()) > 30
    assert key.stat().st_mode & 0o777 == 0o600


class Far:
    """An engine whose jobs are reached through tunnels."""

    def __init__(self) -> None:
        self.tunnel = 7001
        self.asked: list[tuple[Key, int]] = []

    def connect(self, key: Key, port: int) -> tuple[str, int]:
        if not self.tunnel:
            raise Away("the login node does not answer")
        self.asked.append((key, port))
        return "127.0.0.1", self.tunnel


def test_the_gateway_goes_the_way_that_the_engine_opens(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    far = Far()
    monkeypatch.setattr(app.jobs, "_engine_of", lambda _job: far)
    endpoint = answering(app, 1)
    (replica,) = endpoint.replicas

    def way() -> str:
        app.replicas._look(endpoint)
        (routed,) = app.endpoints.route("bot", "speech")
        return routed.url

    assert way() == "http://127.0.0.1:7001"
    assert far.asked == [(Key(replica.job, 0), 9)]  # the port that the replica said it listens at
    far.tunnel = 7002  # after a restart of the platform, or of the tunnel
    assert way() == "http://127.0.0.1:7002"
    far.tunnel = 0
    assert way() == "http://127.0.0.1:7002"  # it may come back; the gateway tells who asks meanwhile
    assert app.endpoints.get("bot", ANN).replicas[0].url == "http://127.0.0.1:9"  # what is kept is what was said
