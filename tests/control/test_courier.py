"""The courier: nobody waits for a slow engine, nothing is handed over twice, and being away is told."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Mapping, Sequence

import pytest

from stoker.clock import ManualClock
from stoker.cluster import Node
from stoker.control.courier import Courier
from stoker.engine import Key, Observation, Order
from stoker.engine_config import EngineConfig
from stoker.errors import Away
from stoker.job import JobSpec, JobState

CONFIG = EngineConfig("far", "slurm", site="cloud", taints=("costly",))


class FarEngine:
    """An engine whose every call is counted, and that may be away, odd or refusing."""

    name = "far"

    def __init__(self) -> None:
        self.orders: dict[Key, Observation] = {}
        self.said: list[str] = []
        self.away = ""
        self.odd = False
        self.refuse: set[Key] = set()
        self.during_submit: Callable[[], None] = lambda: None

    def submit(self, orders: Sequence[Order]) -> Mapping[Key, str]:
        self._answer(f"submit {len(orders)}")
        self.during_submit()
        for order in orders:
            if order.key not in self.refuse:
                self.orders.setdefault(order.key, Observation(JobState.STARTING))
        return {order.key: "no such partition" for order in orders if order.key in self.refuse}

    def states(self) -> Mapping[Key, Observation]:
        self._answer("states")
        if self.odd:
            raise KeyError("a field nobody knew")
        return dict(self.orders)

    def cancel(self, keys: Sequence[Key], *, grace: float) -> None:
        self._answer(f"cancel {len(keys)} {grace:g}")
        for key in keys:
            self.orders[key] = Observation(JobState.CANCELLED)

    def forget(self, keys: Sequence[Key]) -> None:
        self._answer(f"forget {len(keys)}")
        for key in keys:
            self.orders.pop(key, None)

    def logs(self, key: Key, *, stream: str = "stdout", offset: int = 0, limit: int = 1 << 20) -> bytes:
        return b"log"

    def inventory(self) -> tuple[Node, ...]:
        self._answer("inventory")
        return (Node("n1", "far", 4, 1 << 30, taints=("spot",)),)

    def saved(self, keys: Sequence[Key]) -> Mapping[Key, float]:
        self._answer(f"saved {len(keys)}")
        return {key: 7.0 for key in keys if key in self.orders}

    def close(self) -> None:
        self.said.append("close")

    def _answer(self, what: str) -> None:
        self.said.append(what)
        if self.away:
            raise Away(self.away)


@pytest.fixture
def engine() -> FarEngine:
    return FarEngine()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def courier(engine: FarEngine, clock: ManualClock) -> Courier:
    """Not opened: its steps are made by hand, and it asks whenever it makes one."""
    return Courier(engine, CONFIG, clock, quick=0.0, steady=0.0)


def order(job: int) -> Order:
    return Order(Key(job, 1), JobSpec(command=("x",)), ())


def test_before_the_first_answer_nothing_is_known(courier: Courier, engine: FarEngine) -> None:
    for ask in (courier.states, courier.inventory, lambda: courier.submit([order(1)])):
        with pytest.raises(Away, match="has not answered yet"):
            ask()
    assert engine.said == []


def test_asking_the_courier_asks_nobody(courier: Courier, engine: FarEngine) -> None:
    courier.step()
    engine.said.clear()
    courier.submit([order(1)])
    assert courier.states() == {Key(1, 1): Observation(JobState.STARTING)}
    assert courier.inventory()[0].name == "n1"
    assert engine.said == []


def test_who_saved_itself_is_told_from_memory_and_asked_for_by_the_courier(
    courier: Courier, engine: FarEngine
) -> None:
    engine.orders = {Key(job, 1): Observation(JobState.RUNNING) for job in (1, 2)}
    courier.step()
    engine.said.clear()
    both = list(engine.orders)
    assert courier.saved(both) == {}
    assert engine.said == []  # whoever asks must not wait for an engine that hangs
    courier.step()
    assert engine.said.count("saved 2") == 1
    engine.said.clear()
    assert courier.saved(both) == dict.fromkeys(both, 7.0)
    assert courier.saved(both[:1]) == {both[0]: 7.0}
    assert engine.said == []


def test_nodes_carry_the_site_and_taints_of_their_engine(courier: Courier) -> None:
    courier.step()
    (node,) = courier.inventory()
    assert (node.site, node.taints) == ("cloud", ("costly", "spot"))


def test_one_question_for_any_number_of_jobs(courier: Courier, engine: FarEngine) -> None:
    courier.step()
    courier.submit([order(job) for job in range(1, 1001)])
    while courier.step() == 0.0 and len(engine.orders) < 1000:
        pass
    engine.orders = {key: Observation(JobState.RUNNING, started_at=1.0) for key in engine.orders}
    engine.said.clear()
    courier.step()
    assert engine.said == ["states", "inventory"]
    assert len(courier.states()) == 1000


def test_handed_over_again_and_again_it_is_said_once(courier: Courier, engine: FarEngine) -> None:
    courier.step()
    for _ in range(3):
        courier.submit([order(1)])
    courier.step()
    courier.submit([order(1)])
    courier.step()
    assert engine.said.count("submit 1") == 1


def test_what_an_earlier_platform_handed_over_is_learnt_first(courier: Courier, engine: FarEngine) -> None:
    engine.orders[Key(1, 1)] = Observation(JobState.RUNNING, started_at=1.0)
    courier.step()
    courier.submit([order(1)])
    courier.step()
    assert not any(said.startswith("submit") for said in engine.said)


def test_a_refusal_is_a_failure_until_it_is_forgotten(courier: Courier, engine: FarEngine) -> None:
    engine.refuse.add(Key(1, 1))
    courier.step()
    courier.submit([order(1)])
    woken: list[int] = []
    courier.notify(lambda: woken.append(1))
    courier.step()
    assert woken
    seen = courier.states()[Key(1, 1)]
    assert (seen.state, seen.reason, seen.message) == (JobState.FAILED, "Refused", "no such partition")
    courier.forget([Key(1, 1)])
    assert courier.states() == {}


def test_away_is_told_with_its_age_and_asked_less_and_less(
    courier: Courier, engine: FarEngine, clock: ManualClock
) -> None:
    courier.step()
    engine.away = "login01: connection refused"
    pauses = [courier.step() for _ in range(8)]
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    clock.advance(90)
    with pytest.raises(Away, match=r"login01: connection refused; it last answered 1 min 30 s ago"):
        courier.states()
    engine.away = ""
    courier.step()
    assert courier.states() == {}
    assert courier.away == ""


def test_an_answer_nobody_foresaw_is_no_answer(courier: Courier, engine: FarEngine) -> None:
    courier.step()
    engine.odd = True
    courier.step()
    with pytest.raises(Away, match="could not be understood"):
        courier.states()


def test_orders_and_cancellations_wait_for_an_engine_that_is_away(courier: Courier, engine: FarEngine) -> None:
    engine.orders[Key(1, 1)] = Observation(JobState.RUNNING, started_at=1.0)
    courier.step()
    courier.submit([order(2)])
    engine.away = "no route"
    courier.cancel([Key(1, 1)], grace=5.0)
    courier.step()
    engine.away = ""
    courier.step()
    assert engine.orders[Key(1, 1)].state is JobState.CANCELLED
    assert engine.orders[Key(2, 1)].state is JobState.STARTING


def test_cancelled_before_it_was_handed_over_never_is(courier: Courier, engine: FarEngine) -> None:
    courier.step()
    courier.submit([order(1)])
    courier.cancel([Key(1, 1)], grace=5.0)
    courier.step()
    assert courier.states()[Key(1, 1)].state is JobState.CANCELLED
    assert engine.orders == {}


def test_cancelled_while_it_is_handed_over_ends(courier: Courier, engine: FarEngine) -> None:
    courier.step()
    courier.submit([order(1)])
    engine.during_submit = lambda: courier.cancel([Key(1, 1)], grace=5.0)
    courier.step()
    courier.step()
    assert engine.orders[Key(1, 1)].state is JobState.CANCELLED
    assert courier.states()[Key(1, 1)].state is JobState.CANCELLED


def test_what_is_forgotten_does_not_come_back(courier: Courier, engine: FarEngine) -> None:
    engine.orders[Key(1, 1)] = Observation(JobState.SUCCEEDED)
    courier.step()
    courier.forget([Key(1, 1)])
    assert courier.states() == {}
    courier.step()
    assert engine.orders == {}
    assert courier.states() == {}


def test_news_wake_the_dispatcher_and_sameness_does_not(courier: Courier, engine: FarEngine) -> None:
    woken: list[int] = []
    courier.notify(lambda: woken.append(1))
    courier.step()
    assert len(woken) == 1
    courier.step()
    assert len(woken) == 1
    engine.orders[Key(1, 1)] = Observation(JobState.RUNNING, started_at=1.0)
    courier.step()
    assert len(woken) == 2


def test_an_engine_that_has_news_all_the_time_gets_to_its_work(courier: Courier, engine: FarEngine) -> None:
    courier.step()
    courier._took = 60.0  # so long did the last question take
    asked = courier.calls
    courier._heard()
    assert courier.step() > 60.0
    assert courier.calls == asked
    courier.look_again()
    courier.step()
    assert courier.calls == asked + 1


def test_the_thread_hands_over_by_itself_and_ends(engine: FarEngine, clock: ManualClock) -> None:
    courier = Courier(engine, CONFIG, clock)
    news = threading.Event()
    courier.notify(news.set)
    courier.open()
    assert news.wait(10)
    courier.submit([dataclasses.replace(order(7))])
    for _ in range(100):
        if Key(7, 1) in engine.orders:
            break
        news.wait(0.1)
        news.clear()
    courier.close()
    assert Key(7, 1) in engine.orders
    assert engine.said[-1] == "close"
