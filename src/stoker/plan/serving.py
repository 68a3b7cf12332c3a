"""Which layouts serve a load within an objective on the fewest cards, and why others do not."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from stoker.errors import StokerError, Unfit
from stoker.expectation import Expectation
from stoker.perf.hardware import Hardware
from stoker.perf.serving import expect
from stoker.perf.serving.curves import Curves
from stoker.perf.serving.load import (
    Load,
    Objective,
    Steady,
    most,
    prefill_wait,
    steady,
)
from stoker.perf.serving.quantisation import Quantisation
from stoker.perf.serving.split import Split, impossible
from stoker.perf.serving.step import Replica, prefill_seconds
from stoker.perf.transformer import Transformer

_TAIL = 3.0  # of a queue's mean wait: 95 in 100
_LARGEST_STAGE = 32
_MOST_REPLICAS = 1_000_000


@dataclass(frozen=True)
class Wish:
    """What is to be served."""

    model: Transformer
    load: Load
    objective: Objective
    quantisation: Quantisation
    curves: Curves


@dataclass(frozen=True)
class Plan:
    """One way to serve it. `prefillers` is 0 when prompts and answers share the replicas."""

    replica: Replica
    replicas: int
    service: Steady  # of each replica under its share
    most: float  # requests/s a replica takes within the objective
    prefillers: int = 0
    ttft_tail: float = 0.0  # s, waits for prefill and transfer included

    @property
    def split(self) -> Split:
        return self.replica.split

    @property
    def cards(self) -> int:
        return (self.replicas + self.prefillers) * self.split.devices

    def expectations(self, load: Load) -> tuple[Expectation, ...]:
        lengths = load.lengths
        return (
            expect.ttft(self.replica, self.service, lengths),
            expect.tpot(self.replica, self.service, lengths),
            expect.throughput(self.service, lengths, self.replicas),
            expect.capacity(self.replica, self.most, lengths, self.replicas),
            expect.cache(self.replica, self.service, lengths),
        )

    @property
    def best_batch(self) -> float:
        """Sequences that run at once at the highest rate within the objective."""
        return self.most * self.service.running / max(self.service.rate, 1e-9)


@dataclass(frozen=True)
class Rejected:
    layout: str
    reason: str


@dataclass(frozen=True)
class Ranking:
    best: tuple[Plan, ...]
    apart: Plan | None  # the best with prompts on replicas of their own
    rejected: tuple[Rejected, ...]

    @property
    def apart_pays(self) -> bool:
        return self.apart is not None and (not self.best or self.apart.cards < self.best[0].cards)


def rank(wish: Wish, hardware: Hardware, *, keep: int = 5) -> Ranking:
    """Layouts by cards, then by time per token. Raises Unfit when nothing meets the objective, with the nearest."""
    plans: list[Plan] = []
    parted: list[Plan] = []
    rejected: list[Rejected] = []
    for split in splits(wish.model, hardware):
        found = _judge(wish, hardware, split)
        if isinstance(found, Rejected):
            rejected.append(found)
            continue
        plan, apart = found
        if plan is not None:
            plans.append(plan)
        else:
            rejected.append(Rejected(str(split), _why_not(wish, hardware, split)))
        if apart is not None:
            parted.append(apart)
    plans.sort(key=lambda plan: (plan.cards, plan.service.tpot))
    parted.sort(key=lambda plan: (plan.cards, plan.service.tpot))
    if not plans and not parted:
        raise Unfit(_nothing(wish, hardware, rejected), param="objective")
    rejected += [Rejected(str(plan.split), _slower(plan, plans[0])) for plan in plans[keep:]]
    return Ranking(tuple(plans[:keep]), parted[0] if parted else None, tuple(rejected))


def splits(model: Transformer, hardware: Hardware) -> Iterator[Split]:
    """Powers of two within the scale-up domain, with experts cut, whole, or whole with attention data-parallel."""
    reach = min(_LARGEST_STAGE, max(hardware.scale_up_domain, hardware.per_server))
    for stage in _powers(reach):
        for pp in (1, 2):
            if pp * stage > max(reach, 2 * hardware.per_server):
                continue
            yield Split(tp=stage, pp=pp)
            if model.experts and stage > 1:
                yield Split(tp=stage, pp=pp, ep=stage)
                yield Split(tp=1, pp=pp, ep=stage, adp=stage)


def _powers(most: int) -> Iterator[int]:
    size = 1
    while size <= most:
        yield size
        size *= 2


def _judge(wish: Wish, hardware: Hardware, split: Split) -> Rejected | tuple[Plan | None, Plan | None]:
    reason = impossible(wish.model, split)
    if reason:
        return Rejected(str(split), reason)
    replica = Replica.on_hardware(wish.model, hardware, split, wish.quantisation, wish.curves)
    try:
        return _together(wish, replica), _apart(wish, replica)
    except StokerError as error:
        return Rejected(str(split), str(error))


def _together(wish: Wish, replica: Replica) -> Plan | None:
    lengths = wish.load.lengths
    rate = most(replica, lengths, wish.objective)
    if not rate:
        return None
    replicas = math.ceil(wish.load.rate / rate - 1e-9)
    service = steady(replica, lengths, wish.load.rate / replicas)
    if service is None or replicas > _MOST_REPLICAS:
        return None
    return Plan(replica, replicas, service, rate, ttft_tail=service.ttft_tail)


def _apart(wish: Wish, replica: Replica) -> Plan | None:
    """Prompts on replicas of their own, of the same layout: as few of both kinds as meet the objective."""
    load, lengths = wish.load, wish.load.lengths
    decoding = most(replica, lengths, wish.objective, prefill_on=replica)
    if not decoding:
        return None
    replicas = math.ceil(load.rate / decoding - 1e-9)
    service = steady(replica, lengths, load.rate / replicas, prefill_on=replica)
    if service is None:
        return None
    left = wish.objective.ttft - service.ttft_tail
    own = prefill_seconds(replica, lengths.prompt, lengths.prompt)
    prefillers = max(1, math.ceil(load.rate * own.device))
    while prefillers <= 2 * replicas + load.rate * own.device + 1:
        wait = prefill_wait(own, load.rate / prefillers)
        if wait is not None and _TAIL * wait <= left:
            tail = wish.objective.ttft - left + _TAIL * wait
            seen = replace(service, ttft=service.ttft + wait, ttft_tail=tail)
            return Plan(replica, replicas, seen, decoding, prefillers, tail)
        prefillers += max(1, prefillers // 20)
    return None


def _why_not(wish: Wish, hardware: Hardware, split: Split) -> str:
    """The objective that a nearly idle replica misses, else that no load at all can be kept up with."""
    replica = Replica.on_hardware(wish.model, hardware, split, wish.quantisation, wish.curves)
    alone = steady(replica, wish.load.lengths, 1e-3)
    if alone is None:
        return "not one whole sequence fits into its cache"
    if alone.tpot > wish.objective.tpot:
        asked = f"{wish.objective.tpot * 1e3:.1f} ms are asked for"
        return f"a token takes {alone.tpot * 1e3:.1f} ms even alone; {asked}"
    return (
        f"a first token takes {alone.ttft_tail * 1e3:,.0f} ms even alone; "
        f"{wish.objective.ttft * 1e3:,.0f} ms are asked for"
    )


def _slower(plan: Plan, best: Plan) -> str:
    return f"{plan.cards} cards against {best.cards}, {plan.service.tpot * 1e3:.1f} ms a token"


def _nothing(wish: Wish, hardware: Hardware, rejected: list[Rejected]) -> str:
    nearest = [one for one in rejected if "even alone" in one.reason] or rejected or [Rejected("", "no layout")]
    last = min(nearest, key=lambda one: (one.reason, one.layout))
    return (
        f"no layout serves {wish.model.name} in {wish.quantisation.name} on {hardware.accelerator.name} within the "
        f"objective; {last.layout}: {last.reason}"
    )
