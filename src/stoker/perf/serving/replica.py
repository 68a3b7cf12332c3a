"""A closed loop on one replica: `users` who send the next request when the last is answered.

This is what benchmarks run, and in steady state what a busy replica sees. A decode step of all running sequences is
stretched by the prompts that come in meanwhile: in the life of one request every other user's next prompt is
processed once. TTFT is the own prefill, the wait until the engine looks, and the queue of prompts, which is long
when users start together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from stoker.perf.serving.cache import check_fits, transfer_seconds
from stoker.perf.serving.prompts import Prompts
from stoker.perf.serving.step import Replica, decode_seconds

_ITERATIONS = 3  # who waits does not run: the two are found together


@dataclass(frozen=True)
class Lengths:
    """Tokens of prompts and answers: their means, and by what share answers differ (standard deviation / mean)."""

    prompt: float
    answer: float
    variation: float = 0.064  # of a benchmark that draws from 0.8 to 1.0 of the longest


@dataclass(frozen=True)
class Service:
    """What users of one replica see, in seconds, and what the replica delivers."""

    ttft: float
    tpot: float
    decode: float  # the step alone
    prefill: float  # of one prompt alone, until its first token
    running: float  # sequences decoded at once
    waiting: float  # s of TTFT spent waiting for others
    tokens_per_second: float  # answers' tokens


def closed_loop(
    replica: Replica, lengths: Lengths, users: float, *, rounds: int = 10, prefillers: float = 0.0,
    prefill_on: Replica | None = None,
) -> Service:  # fmt: skip
    """`users` for `rounds` requests each, all starting at once (0 rounds: in steady state).

    With `prefillers` replicas of their own (`prefill_on`), prompts do not stretch the decode steps.
    Raises Unfit when the weights do not fit.
    """
    places = room(replica, lengths)
    apart = prefill_on is not None and prefillers > 0
    prompts = Prompts.on(prefill_on if prefill_on is not None else replica, lengths.prompt)
    running = max(1.0, min(users, places))
    for _ in range(_ITERATIONS):
        found = _service(replica, lengths, users, running, places, rounds, prompts, prefillers, apart=apart)
        answer = lengths.answer * found.tpot
        running = 0.5 * (running + max(1.0, min(places, users * answer / (answer + found.ttft))))
    return found


def room(replica: Replica, lengths: Lengths) -> float:
    """Sequences that run at once when as many as fit are sent. Raises Unfit when the weights do not fit."""
    held = lengths.prompt + lengths.answer * (1.0 if replica.curves.engine.books_answers else 0.5)
    return check_fits(replica).sequences(held, replica.split.adp)


def _service(
    replica: Replica, lengths: Lengths, users: float, running: float, places: float, rounds: int,
    prompts: Prompts, prefillers: float, *, apart: bool,
) -> Service:  # fmt: skip
    engine = replica.curves.engine
    decode = decode_seconds(replica, running, lengths.prompt + lengths.answer / 2)
    arriving = (running - 1.0) / lengths.answer  # others' prompts per token
    sharing = prompts.sharing(arriving / max(1.0, prefillers), decode)
    tpot = decode if apart else decode + arriving * prompts.delay(sharing)
    answer = lengths.answer * tpot
    engines = max(1.0, prefillers)
    begin, later = prompts.at_once(max(1.0, users / engines)), prompts.each(sharing) / engines
    waiting = _queue(users, begin, later, answer, lengths.variation, rounds)
    waiting += tpot * prompts.unnoticed(arriving / max(1.0, prefillers)) * (1.0 - 1.0 / rounds if rounds else 1.0)
    if users > places:
        waiting += answer * (users - places) / places
    ttft = engine.request + prompts.until_answered(sharing) + waiting
    if apart:  # two engines in turn, and the cache on its way between them
        ttft += engine.request + transfer_seconds(replica, lengths.prompt)
    tokens = users * lengths.answer / (ttft + answer)
    return Service(ttft, tpot, decode, prompts.alone.latency, running, waiting, tokens)


def _queue(users: float, begin: float, service: float, answer: float, variation: float, rounds: int) -> float:
    """Mean wait for one's prompt, s: `begin` at the common start, later each prompt takes `service`.

    The answers of n users who start together begin, and end, one prompt apart, so the next prompts come within
    w >= n s and mostly in order; different lengths mix them: m = sqrt(12 r) x variation x answer after r rounds,
    w^2 = (n s)^2 + m^2. Two that meet wait s / 2 on average: (n - 1) s^2 m / (2 w^2). In steady state m = w = the
    time of an answer, and the queue is M/D/1's. Prompts that come faster than they are processed wait for what is
    left of the round.
    """
    others = users - 1.0
    left = max(0.0, others * service - answer)
    if not rounds:
        busy = min(0.9, others * service / answer)
        return left + busy * service / (2.0 * (1.0 - busy))
    total = begin
    for past in range(1, rounds):
        mixed = min(answer, math.sqrt(12.0 * past) * variation * answer)
        window = math.hypot(users * service, mixed)
        total += left + others * service * service * mixed / (2.0 * window * window)
    return total / rounds
