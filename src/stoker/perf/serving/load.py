"""Requests that arrive by themselves, on replicas that share them evenly: waiting, and how fast the answers come.

A replica with n sequences running gives each a token every tpot(n) seconds, so by Little's law it carries
n / (answer x tpot(n)) requests a second. Prompts take their share of the device: with arrivals L and s seconds of
device for a prompt, less what a mixed step does along, tpot = decode(n) / (1 - L s). A new request waits for
prompts before it (M/D/1) and, when all places in the cache are taken, for one of them (Erlang's C formula).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from stoker.errors import BadInput
from stoker.perf.serving.cache import Memory, check_fits, transfer_seconds
from stoker.perf.serving.prompts import Prompts
from stoker.perf.serving.replica import Lengths
from stoker.perf.serving.step import Prefill, Replica, decode_seconds

_BUSY = 0.95  # prompts may take this share of a device at most, and sequences of the places
_TAIL = 3.0  # 95 in 100 waits are shorter than this many mean ones (exponential: ln 20)
_ROUNDS = 30
_BATCH = 512  # sequences engines run at once unless told otherwise


@dataclass(frozen=True)
class Load:
    """What arrives in the busiest hour."""

    rate: float  # requests/s
    lengths: Lengths

    def __post_init__(self) -> None:
        given = {"rate": self.rate, "prompt": self.lengths.prompt, "answer": self.lengths.answer}
        for name, value in given.items():
            if not value > 0 or math.isinf(value):
                raise BadInput(f"{name} {value:g} was given; it must be above 0", param=name)


@dataclass(frozen=True)
class Objective:
    """Seconds: 95 in 100 first tokens come within `ttft`, later ones every `tpot` on average."""

    ttft: float
    tpot: float

    def __post_init__(self) -> None:
        for name in ("ttft", "tpot"):
            if not getattr(self, name) > 0:
                raise BadInput(f"{name} {getattr(self, name):g} s was given; it must be above 0", param=name)


@dataclass(frozen=True)
class Steady:
    """One replica under its share of a load, seconds."""

    rate: float  # requests/s it takes
    running: float  # sequences at once
    places: float  # sequences that fit
    tpot: float
    decode: float
    ttft: float  # mean
    ttft_tail: float  # 95 in 100 are faster
    prefill: Prefill
    busy: float  # share of the device's time that prompts take
    memory: Memory

    def meets(self, objective: Objective) -> bool:
        return self.tpot <= objective.tpot and self.ttft_tail <= objective.ttft


def steady(replica: Replica, lengths: Lengths, rate: float, *, prefill_on: Replica | None = None) -> Steady | None:
    """One replica that takes `rate` requests a second; None when it cannot keep up.

    `prefill_on`: prompts are processed elsewhere (their wait is `prefill_wait`'s); their cache is sent here.
    Raises Unfit when the weights do not fit.
    """
    memory = check_fits(replica)
    length = lengths.prompt + lengths.answer / 2
    places = min(memory.sequences(lengths.prompt + lengths.answer, replica.split.adp), _BATCH * replica.split.adp)
    if places < 1:
        return None
    engine, prompts = replica.curves.engine, Prompts.on(prefill_on or replica, lengths.prompt)
    running = tpot = sharing = 1.0
    for _ in range(_ROUNDS):
        decode = decode_seconds(replica, max(1.0, running), length)
        sharing = prompts.sharing(rate * tpot, tpot)
        busy = 0.0 if prefill_on else rate * prompts.delay(sharing)
        if busy > _BUSY:
            return None
        tpot = decode / (1.0 - busy)
        wanted = rate * lengths.answer * tpot
        if wanted > 4 * places:
            return None
        running = 0.5 * (running + wanted)
    if running > _BUSY * places:
        return None
    place = _wait_for_place(running, places, lengths.answer * tpot)
    queue = busy * prompts.until_answered(sharing) / (2 * (1 - busy))
    first = engine.request + prompts.alone.latency + tpot * prompts.unnoticed(rate * tpot)
    if prefill_on:  # two engines in turn, and the cache on its way between them
        first += engine.request + transfer_seconds(replica, lengths.prompt)
    mean = first + queue + place
    tail = first + _TAIL * (queue + place)
    return Steady(rate, running, places, tpot, decode, mean, tail, prompts.alone, busy, memory)


def most(replica: Replica, lengths: Lengths, objective: Objective, *, prefill_on: Replica | None = None) -> float:
    """The highest rate at which one replica meets the objective, requests/s; 0 when it never does."""
    low, high = 0.0, 1.0
    while _good(replica, lengths, high, objective, prefill_on) and high < 1e6:
        low, high = high, 2 * high
    for _ in range(_ROUNDS // 2):
        middle = 0.5 * (low + high)
        if _good(replica, lengths, middle, objective, prefill_on):
            low = middle
        else:
            high = middle
    return low if low > 1e-4 else 0.0


def prefill_wait(prefill: Prefill, rate: float) -> float | None:
    """Mean seconds a prompt waits before a replica that does nothing else; None when it cannot keep up."""
    busy = rate * prefill.device
    return None if busy > _BUSY else busy * prefill.device / (2 * (1 - busy))


def _good(
    replica: Replica, lengths: Lengths, rate: float, objective: Objective, prefill_on: Replica | None
) -> bool:
    found = steady(replica, lengths, rate, prefill_on=prefill_on)
    return found is not None and found.meets(objective)


def _wait_for_place(running: float, places: float, service: float) -> float:
    """Mean wait in M/M/c by Sakasegawa's approximation, s: c = places, each taken for `service` seconds."""
    busy = min(running / places, 0.999)
    return service * math.pow(busy, math.sqrt(2 * (places + 1)) - 1) / (places * (1 - busy))
