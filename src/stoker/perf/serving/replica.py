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
from stoker.perf.serving.step import Prefill, Replica, decode_seconds, prefill_seconds

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
    prefill: float  # of one prompt alone
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
    room = check_fits(replica).sequences(lengths.prompt + lengths.answer / 2, replica.split.adp)
    apart = prefill_on is not None and prefillers > 0
    where = prefill_on if prefill_on is not None else replica
    prompts = _Prompts(prefill_seconds(where, lengths.prompt, lengths.prompt), _packed(where, lengths), prefillers)
    running = max(1.0, min(users, room))
    for _ in range(_ITERATIONS):
        found = _service(replica, lengths, users, running, room, rounds, prompts, apart=apart)
        answer = lengths.answer * found.tpot
        running = 0.5 * (running + max(1.0, min(room, users * answer / (answer + found.ttft))))
    return found


@dataclass(frozen=True)
class _Prompts:
    alone: Prefill  # one prompt in a pass of its own
    packed: float  # s of the device for one among as many as a pass takes
    prefillers: float


def _service(
    replica: Replica, lengths: Lengths, users: float, running: float, room: float, rounds: int,
    prompts: _Prompts, *, apart: bool,
) -> Service:  # fmt: skip
    engine, alone, packed = replica.curves.engine, prompts.alone.device, prompts.packed
    decode = decode_seconds(replica, running, lengths.prompt + lengths.answer / 2)
    tpot = decode if apart else decode + _stretch(replica, lengths, running, decode, alone, packed)
    answer = lengths.answer * tpot
    service = packed if users * packed > answer / 4 else alone
    waiting = _queue(users, service / max(1.0, prompts.prefillers), answer, lengths.variation, rounds)
    if users > room:
        waiting += answer * (users - room) / room
    ttft = engine.request + prompts.alone.latency + waiting + tpot * engine.poll / 2
    if apart:  # two engines in turn, and the cache on its way between them
        ttft += engine.request + transfer_seconds(replica, lengths.prompt)
    return Service(ttft, tpot, decode, alone, running, waiting, users * lengths.answer / (ttft + answer))


def _packed(replica: Replica, lengths: Lengths) -> float:
    """Seconds of a prompt when as many as the engine's chunk takes are processed in one pass."""
    many = max(1.0, replica.curves.engine.chunk // lengths.prompt) * replica.split.adp
    return prefill_seconds(replica, many * lengths.prompt, lengths.prompt).device / many


def _stretch(
    replica: Replica, lengths: Lengths, running: float, decode: float, alone: float, packed: float
) -> float:
    """Seconds that other users' prompts add to each token."""
    others = (running - 1.0) / lengths.answer  # prompts per token
    crowd = min(1.0, others * alone / decode)  # prompts that come while another is processed share its pass
    cost = alone * (1.0 - crowd) + packed * crowd
    if replica.curves.engine.mixes:  # the pass of the prompt carries the running sequences' step along
        passes = max(1.0, lengths.prompt / replica.curves.engine.chunk)
        cost -= min(0.9 * cost, passes * decode * 0.5)
    return others * cost


def _queue(users: float, service: float, answer: float, variation: float, rounds: int) -> float:
    """Mean wait for one's prompt, s.

    Of n users who start together each waits for half of the others: (n - 1) s / 2. Their answers then begin, and
    end, one prompt apart, so the next prompts come within w >= n s and mostly in order; different lengths mix them:
    m = sqrt(12 r) x variation x answer after r rounds, w^2 = (n s)^2 + m^2. Two that meet wait s / 2 on average:
    (n - 1) s^2 m / (2 w^2). In steady state m = w = the time of an answer, and the queue is M/D/1's. Prompts that
    come faster than they are processed wait for what is left of the round.
    """
    others = users - 1.0
    left = max(0.0, others * service - answer)
    if not rounds:
        busy = min(0.9, others * service / answer)
        return left + busy * service / (2.0 * (1.0 - busy))
    total = others * service / 2.0
    for past in range(1, rounds):
        mixed = min(answer, math.sqrt(12.0 * past) * variation * answer)
        window = math.hypot(users * service, mixed)
        total += left + others * service * service * mixed / (2.0 * window * window)
    return total / rounds
