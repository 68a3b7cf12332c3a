"""Prices: the user's own. What servers cost, what a card costs for an hour, and what electricity costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from stoker.errors import BadInput
from stoker.typed import strict


@strict
@dataclass(frozen=True)
class Price:
    """Of one kind of card; 0: not told."""

    server_of_eight: float = 0.0
    hour: float = 0.0  # of one card, rented

    def __post_init__(self) -> None:
        if min(self.server_of_eight, self.hour) < 0:
            raise BadInput("prices must be 0 or more; leave out what is not known")


@strict
@dataclass(frozen=True)
class Prices:
    """Of one file, in one currency, as asked for on one day."""

    currency: str
    asked: str
    power_per_kwh: float
    accelerators: Mapping[str, Price] = field(default_factory=dict)  # by the catalogue's names

    def of(self, card: str) -> Price:
        return self.accelerators.get(card, Price())
