"""Policy: every weight and setting of scheduling that an administrator may choose, in one value.

`stoker policy` shows and sets it on a running platform, `stoker simulate --policy` tries another one on a trace,
and `stoker tune-policy` searches for a better one. Deciders read it from the snapshot; nothing else is tunable.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, get_origin, get_type_hints

from stoker.errors import BadInput, near
from stoker.typed import read, strict


class Order(StrEnum):
    """Who is next among jobs of one priority, once queues have had their say."""

    FIRST_COME = "first-come"
    LEAST_SERVICE = "least-service"  # device-seconds attained so far, in steps (2D-LAS; Gu et al., NSDI 2019)
    LIKELY_END = "likely-end"  # Gittins index per device, learnt from jobs of the same kind that have ended
    SHORTEST = "shortest"  # what is left of the time limit, shortest first
    SMALLEST = "smallest"  # what is left of the time limit times devices, least first


class Preempt(StrEnum):
    """Whom a waiting job may displace."""

    NEVER = "never"
    LOWER = "lower"  # preemptible jobs of lower priority, and of queues above what they deserve
    EQUALS = "equals"  # also preemptible jobs that `order` puts far behind it, after their `turn`


class Backfill(StrEnum):
    """What may start past the first job that has to wait."""

    NONE = "none"
    EASY = "easy"  # what surely does not push its start back (Lifka 1995)
    GREEDY = "greedy"  # whatever fits: fills most, and large gangs may wait without bound


@dataclass(frozen=True)
class Bounds:
    """What a number may be. Those that are `tuned` are searched, on a logarithmic scale if `log`."""

    least: float
    most: float
    tuned: bool = False
    log: bool = False


_DAY = 86400.0
_Seconds = Annotated[float, Bounds(0.0, 30 * _DAY)]


@strict
@dataclass(frozen=True)
class Policy:
    """The defaults are what is in force until somebody sets another one."""

    # who is next
    order: Order = Order.FIRST_COME  # among jobs of one priority
    backfill: Backfill = Backfill.EASY  # what may start past the first job that waits
    service_unit: Annotated[float, Bounds(1.0, 1e9, tuned=True, log=True)] = (
        3600.0  # device-seconds of a first step
    )
    service_step: Annotated[float, Bounds(1.01, 100.0, tuned=True, log=True)] = 2.0  # each is so many times longer

    # preemption
    preempt: Preempt = Preempt.LOWER  # whom a waiting job may displace
    min_runtime: _Seconds = 60.0  # that a started job is left alone
    turn: Annotated[float, Bounds(0.0, 30 * _DAY, tuned=True, log=True)] = (
        3600.0  # seconds until equals may displace it, at first
    )
    checkpoint_every: _Seconds = 30 * _DAY  # at most so much is lost of a job that tells nothing
    restart: _Seconds = 60.0  # that a job loses when it is placed anew

    # placement: what free room is worth, see schedule/worth.py
    stream: Annotated[int, Bounds(1, 1000)] = 100  # jobs to come that a placement is judged by
    scatter: Annotated[float, Bounds(0.01, 2.0)] = 0.2  # spread of the CPUs that they want, in their mean
    cpus_wanted: Annotated[float, Bounds(0.0, 2.0)] = 0.7  # share of them that a node's own devices account for

    # lending between inference and training
    lend: bool = True  # whether replicas that are not needed lend their devices
    # seconds ahead that demand is forecast: what a borrower's end and the start of a large model take
    forecast: Annotated[float, Bounds(0.0, 7 * _DAY)] = 900.0
    reserve: Annotated[float, Bounds(0.0, 1.0)] = 0.1  # share of the load kept ready above it

    # moving running work together
    moves: Annotated[int, Bounds(0, 1000)] = 2  # jobs moved at once, at most, to let a waiting gang in

    def __post_init__(self) -> None:
        for name, bounds in BOUNDS.items():
            value = getattr(self, name)
            if not bounds.least <= value <= bounds.most:
                raise BadInput(
                    f"{name} of {value:g} was given; allowed is {bounds.least:g} to {bounds.most:g}", param=name
                )


BOUNDS: Mapping[str, Bounds] = {
    name: hint.__metadata__[0]
    for name, hint in get_type_hints(Policy, include_extras=True).items()
    if get_origin(hint) is Annotated
}


def parse(text: str, base: Policy | None = None) -> Policy:
    """A policy from ``NAME=VALUE,NAME=VALUE``; what is not named is as in `base`, by default as in force at first.

    Raises BadInput for a setting or value that there is not.
    """
    known = {one.name: one for one in dataclasses.fields(Policy)}
    given: dict[str, Any] = dataclasses.asdict(base or Policy())
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = (word.strip() for word in part.partition("="))
        name = name.replace("-", "_")
        if name not in known:
            raise BadInput(
                f'policy setting "{name}" was given{near(name, known) or "; there are " + ", ".join(known)}',
                param="policy",
            )
        if not equals or not value:
            raise BadInput(f'policy setting "{name}" has no value; write {name}=VALUE', param="policy")
        given[name] = value
    return read(Policy, given, what="policy")
