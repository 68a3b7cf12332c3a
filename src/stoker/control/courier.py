"""Courier: stands between the dispatcher and an engine that takes its time to answer.

An engine on this machine answers at once; one that is asked over a network may take seconds, or hang. The courier
has a thread of its own: it hands over, cancels and forgets what it was told to, and asks the engine once per
interval for everything, however many jobs there are. Whoever asks the courier gets the last answer and never waits.
While the engine does not answer, the courier says so, with the reason and the age of its last answer, and tries
again after longer and longer pauses.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from stoker.clock import Clock
from stoker.cluster import Node
from stoker.engine import CanForget, CanNotify, CanSeeOthers, CanTellSaves, Engine, Key, Observation, Order
from stoker.engine_config import EngineConfig
from stoker.errors import Away
from stoker.foreign import ForeignJob
from stoker.job import JobState
from stoker.units import format_duration

_log = logging.getLogger(__name__)
_QUICK_S = 0.5  # between two questions while something is about to begin or end
_STEADY_S = 3.0  # between two questions otherwise
_BREATH = 4.0  # pause after a question that the engine asked for, in lengths of that question: news come in bunches
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0  # after the engine did not answer
_AT_ONCE = 32  # orders handed over before the engine is asked again


@dataclass
class _Outbox:
    """What the engine has not been told yet."""

    orders: dict[Key, Order] = field(default_factory=dict)
    cancels: dict[Key, float] = field(default_factory=dict)  # key -> grace
    forgets: set[Key] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.orders or self.cancels or self.forgets)


@dataclass(frozen=True)
class _Answer:
    """What the engine said last."""

    states: Mapping[Key, Observation] = field(default_factory=dict)
    nodes: tuple[Node, ...] = ()
    others: tuple[ForeignJob, ...] = ()


class Courier:
    """Implements Engine, CanForget, CanNotify, CanSeeOthers and CanTellSaves for `behind`. Start it with `open`."""

    def __init__(
        self,
        behind: Engine,
        config: EngineConfig,
        clock: Clock,
        *,
        quick: float = _QUICK_S,
        steady: float = _STEADY_S,
    ) -> None:
        """`quick` and `steady`: seconds between two questions while something moves, and otherwise."""
        self.behind = behind
        self.config = config
        self.name = config.name
        self.calls = 0  # how often the engine was asked for everything
        self.answered_at: float | None = None
        self._clock = clock
        self._quick, self._steady = quick, steady
        self._lock = threading.Lock()
        self._outbox = _Outbox()
        self._answer = _Answer()
        self._asked_after: tuple[Key, ...] = ()  # whose saves are of interest
        self._saved: Mapping[Key, float] = {}
        self._saved_at = float("-inf")  # monotonic
        self._handed: set[Key] = set()  # handed over since the last question
        self._refused: dict[Key, Observation] = {}
        self._trouble = "has not answered yet"
        self._pause = 0.0
        self._asked_at = 0.0  # monotonic
        self._took = 0.0  # seconds, the last question
        self._told = False  # the engine says that it would answer otherwise now
        self._urgent = False  # somebody wants to know whether it would
        self._news = threading.Event()
        self._closing = False
        self._wake: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=self._run, name=f"courier-{self.name}", daemon=True)
        if isinstance(behind, CanNotify):
            behind.notify(self._heard)

    def open(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Returns when what was being said has been said, or after a moment; then the engine is closed."""
        self._closing = True
        self._news.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10.0)
        self.behind.close()

    # for the dispatcher: from memory

    @property
    def away(self) -> str:
        """Why the engine does not answer; empty while it does."""
        if not self._trouble or self.answered_at is None:
            return self._trouble
        age = format_duration(max(0.0, self._clock.now() - self.answered_at))
        return f"{self._trouble}; it last answered {age} ago"

    @property
    def trouble(self) -> str:
        """The same without the age, so that it stays the same text."""
        return self._trouble

    def submit(self, orders: Sequence[Order]) -> Mapping[Key, str]:
        """Taken along; what the engine refuses is told by `states` as a failure."""
        self._check()
        with self._lock:
            for order in orders:
                if not self._known(order.key):
                    self._outbox.orders[order.key] = order
        self._news.set()
        return {}

    def states(self) -> Mapping[Key, Observation]:
        self._check()
        with self._lock:
            coming = dict.fromkeys((*self._outbox.orders, *self._handed), Observation(JobState.STARTING))
            return {**coming, **self._answer.states, **self._refused}

    def cancel(self, keys: Sequence[Key], *, grace: float) -> None:
        """Kept until the engine can be told."""
        with self._lock:
            for key in keys:
                if self._outbox.orders.pop(key, None) is not None:
                    ended = Observation(JobState.CANCELLED, message="cancelled before it was handed over")
                    self._refused[key] = replace(ended, ended_at=self._clock.now())
                else:
                    self._outbox.cancels[key] = grace
        self._news.set()

    def forget(self, keys: Sequence[Key]) -> None:
        with self._lock:
            for key in keys:
                if self._refused.pop(key, None) is None:
                    self._outbox.forgets.add(key)
            gone = set(keys)
            left = {key: seen for key, seen in self._answer.states.items() if key not in gone}
            self._answer = replace(self._answer, states=left)
        self._news.set()

    def inventory(self) -> tuple[Node, ...]:
        self._check()
        return self._answer.nodes

    def others(self) -> tuple[ForeignJob, ...]:
        return self._answer.others

    def saved(self, keys: Sequence[Key]) -> Mapping[Key, float]:
        """As the engine said last; it is asked about these from now on."""
        self._asked_after = tuple(keys)
        known = self._saved
        return {key: known[key] for key in keys if key in known}

    def notify(self, wake: Callable[[], None]) -> None:
        self._wake = wake

    def logs(self, key: Key, *, stream: str = "stdout", offset: int = 0, limit: int = 1 << 20) -> bytes:
        return self.behind.logs(key, stream=stream, offset=offset, limit=limit)

    def look_again(self) -> None:
        """Ask the engine at once, whatever the interval: something has just changed there."""
        self._urgent = True
        self._news.set()

    def _heard(self) -> None:
        self._told = True
        self._news.set()

    def _known(self, key: Key) -> bool:
        return key in self._answer.states or key in self._handed or key in self._refused

    def _check(self) -> None:
        if self._trouble:
            raise Away(self.away)

    # the thread

    def _run(self) -> None:
        due = 0.0
        while not self._closing:
            self._news.wait(due)
            self._news.clear()
            if self._closing:
                return
            due = self.step()

    def step(self) -> float:
        """Say what is to be said, ask if it is time; returns after how many seconds the next step is due."""
        try:
            if self._trouble:
                self._ask()  # first of all it is learnt what was handed over before, maybe by an earlier platform
            self._deliver()
            if self._patience() <= 0:
                self._ask()
        except Away as error:
            return self._went_away(str(error))
        except Exception:  # noqa: BLE001
            # The outermost loop: an answer nobody foresaw is as good as none.
            _log.exception("engine %s: its answer could not be understood", self.name)
            return self._went_away("its answer could not be understood; the platform's log says why")
        return 0.0 if self._outbox else max(0.0, self._patience())

    def _patience(self) -> float:
        """Seconds until the engine is to be asked again."""
        if self._urgent:
            return 0.0
        if self._told:
            return self._asked_at + (1 + _BREATH) * self._took - time.monotonic()
        with self._lock:
            moving = bool(self._handed) or any(
                not seen.state.final and seen.state is not JobState.RUNNING for seen in self._answer.states.values()
            )
        return self._asked_at + (self._quick if moving else self._steady) - time.monotonic()

    def _ask(self) -> None:
        self.calls += 1
        self._told = self._urgent = False
        self._asked_at = time.monotonic()
        states, nodes = self.behind.states(), self.behind.inventory()
        others = self.behind.others() if isinstance(self.behind, CanSeeOthers) else ()
        self._took = time.monotonic() - self._asked_at
        ours = tuple(
            replace(node, site=self.config.site, taints=(*self.config.taints, *node.taints)) for node in nodes
        )
        with self._lock:
            kept = {key: seen for key, seen in states.items() if key not in self._outbox.forgets}
            answer = _Answer(kept, ours, others)
            changed = bool(self._trouble or self._handed) or answer != self._answer
            self._answer = answer
            self._handed.clear()
            self._trouble, self._pause = "", 0.0
            self.answered_at = self._clock.now()
        if changed:
            self._wake()
        self._ask_saves()

    def _ask_saves(self) -> None:
        keys = self._asked_after
        if not keys or not isinstance(self.behind, CanTellSaves):
            return
        if time.monotonic() - self._saved_at >= self._steady:
            self._saved_at = time.monotonic()
            try:
                self._saved = self.behind.saved(keys)
            except Away as error:  # what it said before still holds: a save is not undone
                _log.info("engine %s: %s", self.name, error)

    def _deliver(self) -> None:
        """Cancellations first: they make room. An order stays in the outbox until the engine has taken it."""
        with self._lock:
            cancels, forgets = dict(self._outbox.cancels), set(self._outbox.forgets)
            orders = list(islice(self._outbox.orders.values(), _AT_ONCE))
        for grace in set(cancels.values()):
            self.behind.cancel([key for key, one in cancels.items() if one == grace], grace=grace)
        if forgets and isinstance(self.behind, CanForget):
            self.behind.forget(list(forgets))
        refused = self.behind.submit(orders) if orders else {}
        with self._lock:
            self._outbox.forgets -= forgets
            for key, grace in cancels.items():
                if self._outbox.cancels.get(key) == grace:
                    del self._outbox.cancels[key]
            for order in orders:
                self._handed_over(order.key, refused.get(order.key, ""))
        if refused:
            self._wake()

    def _handed_over(self, key: Key, refused: str) -> None:
        if refused:
            told = Observation(JobState.FAILED, reason="Refused", message=refused, ended_at=self._clock.now())
            self._refused[key] = told
        elif key in self._outbox.orders:
            self._handed.add(key)
        elif key in self._refused:  # cancelled while it was being handed over
            del self._refused[key]
            self._outbox.cancels[key] = 0.0
            self._handed.add(key)
        self._outbox.orders.pop(key, None)

    def _went_away(self, why: str) -> float:
        self._pause = min(max(_FIRST_PAUSE_S, 2 * self._pause), _LONGEST_PAUSE_S)
        if why != self._trouble:
            _log.warning("engine %s is away: %s", self.name, why)
            self._trouble = why
            self._wake()
        return self._pause
