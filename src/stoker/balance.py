"""Balance: when machines go from one engine to another by themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from stoker.errors import BadInput
from stoker.typed import strict

_LONGEST_S = 7 * 86400.0


@strict
@dataclass(frozen=True)
class Balance:
    """Machines that belong to both engines follow the queues, slowly enough not to swing to and fro."""

    engines: tuple[str, str]
    floors: Mapping[str, int] = field(default_factory=dict)  # machines that stay on each side, whatever waits
    patience: float = 120.0  # seconds that a shortage must last before it is answered
    cool_down: float = 900.0  # seconds in which nothing goes back the way it came
    at_once: int = 2  # most machines on their way at the same time
    within: float = 3600.0  # seconds after which an automatic move that is not done is undone

    def __post_init__(self) -> None:
        first, second = self.engines
        if first == second or not (first and second):
            raise BadInput(f'"{first}" and "{second}" were given; name two engines', param="engines")
        for engine, floor in self.floors.items():
            if engine not in self.engines:
                raise BadInput(
                    f'a floor for "{engine}" was given; the engines are {first} and {second}', param="floors"
                )
            if not 0 <= floor <= 1_000_000:
                raise BadInput(f"a floor of {floor} machines was given; allowed is 0 and more", param="floors")
        if not 1 <= self.at_once <= 1000:
            raise BadInput(f"{self.at_once} at once was given; allowed is 1 to 1000", param="at_once")
        for name, value in (("patience", self.patience), ("cool_down", self.cool_down), ("within", self.within)):
            if not 0 <= value <= _LONGEST_S or (name == "within" and value < 1):
                raise BadInput(f"{name} of {value:g} s was given; allowed is up to 7 days", param=name)

    @property
    def pair(self) -> str:
        """What it is known by, whichever engine was named first."""
        return " ".join(sorted(self.engines))

    def floor(self, engine: str) -> int:
        return self.floors.get(engine, 0)

    def other(self, engine: str) -> str:
        return self.engines[1] if engine == self.engines[0] else self.engines[0]


@dataclass(frozen=True)
class BalanceReport:
    """A policy and what it saw last; empty until it has looked once."""

    balance: Balance
    open: Mapping[str, int] = field(default_factory=dict)  # engine -> machines that take work there
    short: Mapping[str, int] = field(default_factory=dict)  # engine -> devices that are waited for there alone
    since: Mapping[str, float] = field(default_factory=dict)  # engine -> since when it has been short
