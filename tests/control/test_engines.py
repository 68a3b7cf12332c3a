"""Engines as people add and remove them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stoker.account import Account, Role
from stoker.app import App
from stoker.clock import ManualClock
from stoker.control.engines import EngineDesk
from stoker.control.rights import platform
from stoker.control.roster import Roster
from stoker.engine import Engine, Key, Order
from stoker.engine_config import EngineConfig, settings_of
from stoker.errors import Away, BadInput, Conflict, Denied, NotFound
from stoker.job import JobSpec
from stoker.store.engines import EngineStore
from stoker.typed import strict
from tests.control.test_courier import FarEngine
from tests.control.test_loop import Bench, ScriptedEngine

ADMIN = platform()
CONFIG = EngineConfig("far", "slurm", site="cloud", settings={"partition": "gpu"})


@strict
@dataclasses.dataclass(frozen=True)
class FarSettings:
    partition: str = ""
    licences: tuple[str, ...] = ()
    port: int = 22


class Desk:
    """An EngineDesk on a store, whose engines are FarEngines."""

    def __init__(self, path: Path) -> None:
        self.bench = Bench(path, ScriptedEngine("local"))
        self.built: list[FarEngine] = []
        self.away = ""
        self.open()

    def open(self) -> None:
        self.roster = Roster.of(ScriptedEngine("local"))
        store = EngineStore(self.bench.database)
        self.desk = EngineDesk(
            store, self.bench.store, self.roster, self.bench.dispatcher, self._build, ManualClock()
        )

    def _build(self, config: EngineConfig) -> Engine:
        settings_of(config, FarSettings)
        engine = FarEngine()
        engine.name, engine.away = config.name, self.away
        self.built.append(engine)
        return engine

    def close(self) -> None:
        for engine in self.roster.values():
            engine.close()
        self.bench.database.close()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.close()


def until(true: Callable[[], bool]) -> None:
    import time

    for _ in range(500):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come true")


def test_an_engine_that_is_added_is_there_after_a_restart(desk: Desk) -> None:
    status = desk.desk.add(CONFIG, ADMIN)
    assert (status.name, status.kind, status.site) == ("far", "slurm", "cloud")
    desk.roster["far"].close()
    desk.open()
    desk.desk.load()
    assert sorted(desk.roster) == ["far", "local"]
    until(lambda: not desk.desk.get("far", ADMIN).away)


def test_one_that_does_not_answer_is_not_added_unless_told(desk: Desk) -> None:
    desk.away = "login01: host key verification failed"
    with pytest.raises(Away, match="host key"):
        desk.desk.add(CONFIG, ADMIN)
    assert sorted(desk.roster) == ["local"]
    assert desk.built[-1].said[-1] == "close"
    desk.desk.add(CONFIG, ADMIN, check=False)
    until(lambda: "host key" in desk.desk.get("far", ADMIN).away)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"partitoin": "gpu"}, "near names: partition"),
        ({"port": "many"}, "port: must be a valid integer"),
    ],
)
def test_wrong_settings_are_named(desk: Desk, settings: dict[str, str], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        desk.desk.add(dataclasses.replace(CONFIG, settings=settings), ADMIN)


def test_lists_may_come_as_one_text() -> None:
    config = dataclasses.replace(CONFIG, settings={"licences": "a, b", "port": "2222"})
    assert settings_of(config, FarSettings) == FarSettings(licences=("a", "b"), port=2222)


def test_names(desk: Desk) -> None:
    for name in ("local", "Far", "-far", "f" * 33, "a/b", ""):
        with pytest.raises(BadInput):
            dataclasses.replace(CONFIG, name=name)
    desk.desk.add(CONFIG, ADMIN)
    with pytest.raises(Conflict, match="already"):
        desk.desk.add(CONFIG, ADMIN)
    with pytest.raises(NotFound, match="far"):
        desk.desk.get("fra", ADMIN)


def test_an_engine_with_jobs_stays(desk: Desk) -> None:
    desk.desk.add(CONFIG, ADMIN)
    until(lambda: not desk.roster["far"].states())
    job = desk.bench.add(engine="local")
    desk.bench.tick()
    held = desk.bench.job(job)
    with pytest.raises(BadInput, match="stays"):
        desk.desk.remove("local", ADMIN)
    assert held.engine == "local"
    desk.desk.remove("far", ADMIN)
    assert sorted(desk.roster) == ["local"]
    with pytest.raises(NotFound):
        desk.desk.remove("far", ADMIN)


def test_settings_that_became_wrong_keep_the_engine_as_away(desk: Desk) -> None:
    desk.desk.add(CONFIG, ADMIN)
    desk.desk.remove("far", ADMIN)
    EngineStore(desk.bench.database).add(dataclasses.replace(CONFIG, settings={"gone": "1"}))
    desk.open()
    desk.desk.load()
    until(lambda: "cannot be opened" in desk.desk.get("far", ADMIN).away)
    with pytest.raises(Away):
        desk.roster["far"].submit([Order(Key(1, 1), JobSpec(command=("x",)), ())])


def test_only_admins_change_engines(app: App) -> None:
    user = Account("a", "ann", Role.USER, "t", 0.0)
    with pytest.raises(Denied):
        app.engines.add(CONFIG, user)
    with pytest.raises(Denied):
        app.engines.remove("far", user)
    (local,) = app.engines.find(user)
    assert (local.name, local.devices, local.away) == ("local", 8, "")


def test_an_unknown_kind_is_refused(app: App) -> None:
    with pytest.raises(BadInput, match="kind"):
        app.engines.add(dataclasses.replace(CONFIG, kind="slrum"), ADMIN)
