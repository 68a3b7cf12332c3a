"""What passed the gateway: requests, seconds and tokens, by endpoint and by key. Kept in memory since the start."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from stoker.account import Account
from stoker.control.lending import Counted
from stoker.usage import KeyUsage

V = TypeVar("V")

BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


class Tokens(NamedTuple):
    prompt: int = 0
    completion: int = 0


@dataclass
class Histogram:
    """Counts of durations by upper bound, in seconds."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    total: float = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.total += seconds


class Route(NamedTuple):
    """An endpoint as one tenant sees it."""

    tenant: str
    endpoint: str


NOWHERE = Route("", "")  # requests that were refused before they had found an endpoint


class Meter:
    """Counted on the gateway's event loop only; read anywhere."""

    def __init__(self) -> None:
        self.requests: dict[tuple[Route, int], int] = defaultdict(int)
        self.durations: dict[Route, Histogram] = defaultdict(Histogram)
        self.first_bytes: dict[Route, Histogram] = defaultdict(Histogram)
        self.first_tokens: dict[Route, Histogram] = defaultdict(Histogram)  # of answers that are streamed
        self.later_tokens: dict[Route, Histogram] = defaultdict(Histogram)  # each of the others on average
        self.retries: dict[Route, int] = defaultdict(int)
        self._by_key: dict[tuple[str, Route], list[int]] = defaultdict(lambda: [0, 0, 0])

    def ended(self, route: Route, status: int, seconds: float) -> None:
        self.requests[route, status] += 1
        self.durations[route].add(seconds)

    def streamed(self, route: Route, first: float, rest: float, tokens: int) -> None:
        """The first of `tokens` came after `first` seconds, the others took `rest` together."""
        self.first_tokens[route].add(first)
        if tokens > 1:
            self.later_tokens[route].add(rest / (tokens - 1))

    def counted(self, endpoint: str) -> Counted:
        """How long the streamed answers of an endpoint took, to whoever and by whichever version."""
        routes = [route for route in tuple(self.first_tokens) if route.endpoint.partition("@")[0] == endpoint]
        return Counted(BOUNDS_S, *(_sum(rows, routes) for rows in (self.first_tokens, self.later_tokens)))

    def used(self, account: Account, route: Route, tokens: Tokens) -> None:
        row = self._by_key[account.id, route]
        row[0] += 1
        row[1] += tokens.prompt
        row[2] += tokens.completion

    def usage(self, tenant: str | None = None) -> list[KeyUsage]:
        """By key and model, of one tenant or of all."""
        return [
            KeyUsage(key, route.tenant, route.endpoint, *row)
            for (key, route), row in sorted(self._by_key.items())
            if tenant in (None, route.tenant)
        ]


def _sum(rows: Mapping[Route, Histogram], routes: Iterable[Route]) -> list[int]:
    counts = [0] * (len(BOUNDS_S) + 1)
    for route in routes:
        if route in rows:
            counts = [sum(both) for both in zip(counts, rows[route].counts, strict=True)]
    return counts


def exposition(
    meter: Meter, in_flight: Mapping[int, int], held: Mapping[str, int], tenant: str | None = None
) -> str:
    """Prometheus' text format 0.0.4; with a `tenant`, only that tenant's rows."""
    return "\n".join(_lines(meter, in_flight, held, tenant)) + "\n"


def _lines(
    meter: Meter, in_flight: Mapping[int, int], held: Mapping[str, int], tenant: str | None
) -> Iterator[str]:
    yield from _family("requests_total", "counter", "Requests by endpoint and status.")
    for (route, status), count in sorted(meter.requests.items()):
        if tenant in (None, route.tenant):
            yield f"stoker_gateway_requests_total{_labels(route, code=str(status))} {count}"
    yield from _family("retries_total", "counter", "Requests handed to another replica before any answer.")
    for route, count in _of(tenant, meter.retries):
        yield f"stoker_gateway_retries_total{_labels(route)} {count}"
    yield from _family("tokens_total", "counter", "Tokens by endpoint, key and kind.")
    for row in meter.usage(tenant):
        route = Route(row.tenant, row.model)
        for kind, count in (("prompt", row.prompt_tokens), ("completion", row.completion_tokens)):
            yield f"stoker_gateway_tokens_total{_labels(route, key=row.key, kind=kind)} {count}"
    yield from _histograms(
        "duration_seconds", "From the request's arrival to its last byte.", _of(tenant, meter.durations)
    )
    yield from _histograms(
        "first_byte_seconds", "From arrival to the first byte back.", _of(tenant, meter.first_bytes)
    )
    yield from _histograms(
        "first_token_seconds",
        "From arrival, or the end of a hold, to the first token of a streamed answer.",
        _of(tenant, meter.first_tokens),
    )
    yield from _histograms(
        "later_token_seconds", "Each further token of a streamed answer.", _of(tenant, meter.later_tokens)
    )
    if tenant is None:
        yield from _family("in_flight", "gauge", "Requests a replica is working on, by its job.")
        for job, count in sorted(in_flight.items()):
            yield f'stoker_gateway_in_flight{{job="{job}"}} {count}'
        yield from _family("held", "gauge", "Requests that wait for a replica to start, by endpoint.")
        for name, count in sorted(held.items()):
            yield f'stoker_gateway_held{{endpoint="{_escaped(name)}"}} {count}'


def _of(tenant: str | None, rows: Mapping[Route, V]) -> list[tuple[Route, V]]:
    return [(route, rows[route]) for route in sorted(rows) if tenant in (None, route.tenant)]


def _histograms(name: str, text: str, rows: Iterable[tuple[Route, Histogram]]) -> Iterator[str]:
    yield from _family(name, "histogram", text)
    for route, histogram in rows:
        running = 0
        for bound, count in zip((*BOUNDS_S, "+Inf"), histogram.counts, strict=True):
            running += count
            yield f"stoker_gateway_{name}_bucket{_labels(route, le=str(bound))} {running}"
        yield f"stoker_gateway_{name}_sum{_labels(route)} {histogram.total:.6f}"
        yield f"stoker_gateway_{name}_count{_labels(route)} {running}"


def _family(name: str, kind: str, text: str) -> tuple[str, str]:
    return f"# HELP stoker_gateway_{name} {text}", f"# TYPE stoker_gateway_{name} {kind}"


def _labels(route: Route, **more: str) -> str:
    pairs = {"tenant": route.tenant, "endpoint": route.endpoint, **more}
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
