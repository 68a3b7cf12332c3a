"""Lending: endpoints get as many replicas as their load asks for; what they do not need, others may use.

What passes the gateway is looked at every second. A replica more is a job like any other, of high priority: where
nothing is free it displaces the cheapest preemptible work. A replica less finishes its answers and ends.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from stoker.clock import Clock
from stoker.control.endpoints import EndpointDesk
from stoker.endpoint import Endpoint
from stoker.schedule.lend import DAY, Cause, Load, Wanted, wanted
from stoker.schedule.policy import Policy

log = logging.getLogger(__name__)

_LOOK_S = 1.0
_IDLE_S = 60.0  # while no endpoint follows its load
_SPAN_S = 10.0  # of one Load
_LATENCY_SPANS = 6  # over which latencies are taken together: few answers say little
_KEPT_S = DAY + 7200.0  # the forecast looks at what followed at this time yesterday
_SHARE = 0.95


@dataclass(frozen=True)
class Counted:
    """Answers since the start by how long they took: one count for each of `bounds` (seconds), one beyond."""

    bounds: Sequence[float]
    ttft: Sequence[int]
    tpot: Sequence[int]


class Lending:
    """`step` is called by a thread of the platform; `observe` once, before it starts."""

    def __init__(self, endpoints: EndpointDesk, clock: Clock, policy: Callable[[], Policy] = Policy) -> None:
        self._endpoints = endpoints
        self._clock = clock
        self._policy = policy
        self._in_flight: Mapping[int, int] = {}
        self._held: Mapping[str, int] = {}
        self._counted: Callable[[str], Counted] = lambda _name: Counted((), (0,), (0,))
        self._books: dict[str, LoadBook] = {}
        self._looked_at = 0.0

    def observe(
        self, in_flight: Mapping[int, int], counted: Callable[[str], Counted], held: Mapping[str, int] | None = None
    ) -> None:
        """`in_flight`: requests that each replica (by its job) works on. `counted`: of an endpoint, by its name.
        `held`: requests that wait at the gateway for a replica, by the endpoint's name."""
        self._in_flight = in_flight
        self._held = {} if held is None else held
        self._counted = counted

    def step(self) -> float:
        """Look at every endpoint that follows its load; seconds until that should be done again."""
        now = self._clock.now()
        due = self._looked_at + _LOOK_S - now
        if due > 0:
            return due
        self._looked_at = now
        following = [endpoint for endpoint in self._endpoints.live() if endpoint.follows]
        self._books = {one.name: self._books.get(one.name) or LoadBook(now) for one in following}
        for endpoint in following:
            self._look(endpoint, now)
        return _LOOK_S if following else _IDLE_S

    def _look(self, endpoint: Endpoint, now: float) -> None:
        book = self._books[endpoint.name]
        in_flight = sum(self._in_flight.get(replica.job, 0) for replica in endpoint.replicas)
        in_flight += self._held.get(endpoint.name, 0)
        book.note(now, in_flight, self._counted(endpoint.name))
        told = self._decide(endpoint, book, now)
        if (told.replicas, told.cause.value) != (endpoint.wanted, endpoint.cause):
            if told.replicas != endpoint.wanted:
                log.info(
                    "endpoint %s: %d replicas instead of %d (%s)",
                    endpoint.name,
                    told.replicas,
                    endpoint.wanted,
                    told.cause,
                )
            self._endpoints.resize(endpoint.name, told.replicas, told.cause)

    def _decide(self, endpoint: Endpoint, book: LoadBook, now: float) -> Wanted:
        policy, scaling = self._policy(), endpoint.scaling
        if not policy.lend:
            return Wanted(scaling.ceiling, Cause.CEILING, scaling.ceiling)
        if not book.full(now, scaling.window) and endpoint.wanted > scaling.floor:
            # After a restart nobody knows what was needed a moment ago: what is there stays for a window.
            least = min(endpoint.wanted, scaling.ceiling)
        elif not scaling.floor and not book.full(now, scaling.idle):
            least = min(endpoint.wanted, 1)
        else:
            least = scaling.floor
        told = wanted(
            book.loads(now),
            scaling,
            current=len(endpoint.ready),
            now=now,
            ahead=policy.forecast,
            share=policy.reserve,
        )
        return told if told.replicas >= least else Wanted(least, Cause.RECENT, told.needed)


class LoadBook:
    """What one endpoint had to do, over the last day, in spans."""

    def __init__(self, now: float) -> None:
        self._since = now
        self._begun = now
        self._most = 0.0
        self._loads: list[Load] = []
        self._marks: deque[Counted] = deque(maxlen=_LATENCY_SPANS)  # at the ends of the last spans
        self._last: Counted | None = None

    def full(self, now: float, seconds: float) -> bool:
        """Whether it goes back so far."""
        return now - self._since >= seconds

    def note(self, now: float, in_flight: float, counted: Counted) -> None:
        self._most = max(self._most, in_flight)
        self._last = counted
        if not self._marks:
            self._marks.append(counted)
        if now - self._begun >= _SPAN_S:
            self._loads.append(self._load(now))
            self._marks.append(counted)
            self._begun, self._most = now, in_flight
            kept = now - _KEPT_S
            if self._loads[0].at < kept - _KEPT_S / 24:  # rarely, as it costs
                self._loads = [load for load in self._loads if load.at >= kept]

    def loads(self, now: float) -> Sequence[Load]:
        """Oldest first; the last is the span under way."""
        return [*self._loads, self._load(now)]

    def _load(self, now: float) -> Load:
        if self._last is None or not self._marks:
            return Load(now, self._most)
        first, last = self._marks[0], self._last
        return Load(
            now,
            self._most,
            _quantile(last.bounds, first.ttft, last.ttft),
            _quantile(last.bounds, first.tpot, last.tpot),
        )


def _quantile(bounds: Sequence[float], before: Sequence[int], after: Sequence[int]) -> float | None:
    """The 95th percentile of what was added between two counts, seconds; within a bucket it is taken as even, as in
    Prometheus' histogram_quantile. None when nothing was."""
    added = [late - early for early, late in zip(before, after, strict=True)]
    wanted_rank, running = _SHARE * sum(added), 0
    if not sum(added):
        return None
    for at, count in enumerate(added):
        if count and running + count >= wanted_rank:
            if at >= len(bounds):
                return bounds[-1] if bounds else None  # longer than the last bound: nobody knows how much
            low = bounds[at - 1] if at else 0.0
            return low + (bounds[at] - low) * (wanted_rank - running) / count
        running += count
    return None
