"""What to buy for a mix of training and serving: servers, racks, power and money, by kind of card.

    training servers   the fewest (powers of two, and three times those) whose days of training fit into the period,
                       with what failures and checkpoints leave of it
    serving servers    cards of the cheapest layout of each model within its objective, rounded up to servers
    power              cards x TDP + what a server takes beside them, x PUE at the meter
    cost               servers x price + energy of the years, all of it at full power

Each kind of card is sized alone, then pairs: one kind trains, the other serves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import permutations

from stoker.errors import StokerError, Unfit
from stoker.expectation import Expectation
from stoker.perf.hardware import Hardware
from stoker.perf.layout import Workload
from stoker.perf.stack import Stack
from stoker.perf.transformer import Transformer
from stoker.plan import serving
from stoker.plan.prices import Prices
from stoker.plan.training import search

_BATCH = 768  # sequences of a step: 3 x 2^8, so that twice and three times as many copies share it evenly
_MOST_SERVERS = 2048
HOURS_A_YEAR = 8766.0
DAY = 86400.0


@dataclass(frozen=True)
class Train:
    """Tokens to train a model on, again and again, each period of `days`."""

    model: Transformer
    tokens: float
    days: float
    sequence: int = 4096


@dataclass(frozen=True)
class Room:
    """What the machine room gives and the years that are counted."""

    years: float = 3.0
    beside_cards: float = 4600.0  # W of a server: processors, ports, fans; DGX H100's 10.2 kW less eight cards
    pue: float = 1.3
    rack: float = 40e3  # W


@dataclass(frozen=True)
class Need:
    """What one kind of card needs for one side of the mix."""

    servers: int
    why: str
    basis: tuple[str, ...]
    speeds: tuple[Expectation, ...] = ()


@dataclass(frozen=True)
class Side:
    hardware: Hardware  # one server of it
    servers: int


@dataclass(frozen=True)
class Option:
    """One way to buy."""

    name: str
    sides: tuple[Side, ...]
    racks: int
    power: float  # W at the meter
    bought: float  # money for servers; 0 without a price
    energy: float  # money for the years; 0 without prices
    why: tuple[str, ...]
    basis: tuple[str, ...]
    speeds: tuple[Expectation, ...]

    @property
    def cards(self) -> int:
        return sum(side.servers * side.hardware.per_server for side in self.sides)

    @property
    def servers(self) -> int:
        return sum(side.servers for side in self.sides)

    @property
    def cost(self) -> float:
        return self.bought + self.energy if self.bought else 0.0

    def breaks_even(self, against: Option) -> float:
        """The share of today's servers' price at which this costs what `against` does; 0 when never."""
        return max(0.0, (against.cost - self.energy) / self.bought) if self.bought and against.cost else 0.0


@dataclass(frozen=True)
class Comparison:
    options: tuple[Option, ...]  # cheapest first; by cards where a price is missing
    impossible: tuple[tuple[str, str], ...]  # card, reason


@dataclass
class _Needs:
    """What each kind of card needs, or why it cannot."""

    of: dict[str, Need] = field(default_factory=dict)
    impossible: list[tuple[str, str]] = field(default_factory=list)

    def add(self, card: Hardware, need: Callable[..., Need], *asked: object) -> None:
        try:
            self.of[card.accelerator.name] = need(card, *asked)
        except StokerError as error:
            self.impossible.append((card.accelerator.name, str(error)))


WishOn = Callable[[Hardware], Sequence[serving.Wish]]


def compare(
    cards: Sequence[Hardware],
    trains: Sequence[Train],
    wishes: WishOn,
    stack: Stack,
    room: Room,
    prices: Prices | None,
) -> Comparison:
    """`wishes` says what is served on a card, in formats it has. Raises Unfit when no card can do any of it all."""
    training, serves = _Needs(), _Needs()
    for card in cards:
        training.add(card, _train, trains, stack)
        serves.add(card, _serve, wishes)
    impossible = [*training.impossible, *serves.impossible]
    known = {card.accelerator.name: card for card in cards}
    options = [
        _option([(known[name], training.of[name], serves.of[name])], room, prices)
        for name in known
        if name in training.of and name in serves.of
    ]
    if trains and any(need.servers for need in serves.of.values()):
        options += [
            _option([(known[one], training.of[one], None), (known[two], None, serves.of[two])], room, prices)
            for one, two in permutations(known, 2)
            if one in training.of and two in serves.of
        ]
    if not options:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in impossible[:2])
        raise Unfit(f"no card does all of it: {reasons}", param="cards")
    priced = all(option.cost for option in options)
    options.sort(key=lambda option: (option.cost if priced else 0.0, option.cards, option.power))
    return Comparison(tuple(options), tuple(impossible))


def _train(card: Hardware, trains: Sequence[Train], stack: Stack) -> Need:
    """All trainings share the same servers, one after the other; the slowest period decides."""
    if not trains:
        return Need(0, "", ())
    servers = 1
    while servers <= _MOST_SERVERS:
        found = _fits_period(_with(card, servers), trains, stack)
        if found is not None:
            return found
        servers = _next(servers)
    raise Unfit(f"{_MOST_SERVERS} servers of {card.accelerator.name} are too few for the training asked for")


def _next(servers: int) -> int:
    """1, 2, 3, 4, 6, 8, 12, 16, ...: powers of two, and three times those."""
    if servers < 3:
        return servers + 1
    return servers * 4 // 3 if servers % 3 == 0 else servers * 3 // 2


def _fits_period(hardware: Hardware, trains: Sequence[Train], stack: Stack) -> Need | None:
    busy, told, basis, speeds = 0.0, [], [], []
    for train in trains:
        try:
            found = search(train.model, hardware, Workload(_BATCH, train.sequence, states="lean"), stack, keep=1)
        except Unfit:
            if hardware.servers >= _MOST_SERVERS // 2:
                raise
            return None
        best = found.best[0]
        days = found.seconds(train.tokens, best) / DAY
        busy += days / train.days
        told.append(f"{train.model.name}: {days:.1f} of {train.days:g} days ({best.layout})")
        speed = found.speed(best)
        speeds.append(speed)
        basis.append(
            f"{train.model.name} on {hardware.count} x {hardware.accelerator.name}: {train.tokens:.4g} tokens / "
            f"{speed.value:,.0f} tokens/s / "
            f"{found.reliability().share:.1%} goodput = {days:.2f} days; {speed.basis}"
        )
    if busy > 1.0:
        return None
    return Need(hardware.servers, "; ".join(told), tuple(basis), tuple(speeds))


def _serve(card: Hardware, wishes: WishOn) -> Need:
    cards, told, basis = 0, [], []
    speeds: list[Expectation] = []
    for wish in wishes(card):
        found = serving.rank(wish, card, keep=1)
        best = found.apart if found.apart_pays and found.apart else found.best[0]
        cards += best.cards
        served = f"{wish.model.name} {wish.quantisation.name}"
        if best.prefillers:
            told.append(f"{served}: {best.replicas} + {best.prefillers} for prompts x ({best.split})")
        else:
            told.append(f"{served}: {best.replicas} x ({best.split})")
        speeds += best.expectations(wish.load)[:2]
        basis += [f"{wish.model.name}: {one.name} {one.value:.4g} {one.unit}: {one.basis}" for one in speeds[-2:]]
    if not cards:
        return Need(0, "", ())
    return Need(math.ceil(cards / card.per_server), "; ".join(told), tuple(basis), tuple(speeds))


def _with(card: Hardware, servers: int) -> Hardware:
    return replace(card, servers=servers)


def _option(parts: list[tuple[Hardware, Need | None, Need | None]], room: Room, prices: Prices | None) -> Option:
    sides, why, basis = [], [], []
    speeds: list[Expectation] = []
    for card, training, served in parts:
        needs = [need for need in (training, served) if need is not None and need.servers]
        sides.append(Side(card, sum(need.servers for need in needs)))
        why += [need.why for need in needs]
        basis += [line for need in needs for line in need.basis]
        speeds += [one for need in needs for one in need.speeds]
    watts = [(side, _server_power(side.hardware, room)) for side in sides]
    power = sum(side.servers * each for side, each in watts) * room.pue
    racks = sum(math.ceil(side.servers / max(1, int(room.rack // each))) for side, each in watts)
    bought = sum(_price(side, prices) for side in sides)
    if any(side.servers and not _price(side, prices) for side in sides):
        bought = 0.0
    hours = room.years * HOURS_A_YEAR
    energy = power / 1e3 * hours * prices.power_per_kwh if prices else 0.0
    basis += [_power_basis(side, each, room) for side, each in watts]
    if prices and bought:
        basis.append(_cost_basis(sides, prices, power, hours, bought + energy))
    name = " + ".join(card.accelerator.name for card, _, _ in parts)
    return Option(name, tuple(sides), racks, power, bought, energy, tuple(why), tuple(basis), tuple(speeds))


def _server_power(card: Hardware, room: Room) -> float:
    tdp = card.accelerator.tdp
    if tdp is None:
        raise Unfit(f"nobody states the power of {card.accelerator.name}; leave it out, or add it to the catalogue")
    return card.per_server * float(tdp) + room.beside_cards


def _price(side: Side, prices: Prices | None) -> float:
    """Of a side's servers; a price is that of eight cards with their server."""
    if prices is None:
        return 0.0
    return side.servers * prices.of(side.hardware.accelerator.name).server_of_eight * side.hardware.per_server / 8


def _power_basis(side: Side, each: float, room: Room) -> str:
    card = side.hardware
    return (
        f"power of {card.accelerator.name}: {side.servers} servers x ({card.per_server} x {card.accelerator.tdp} + "
        f"{room.beside_cards:,.0f} W) = {side.servers * each / 1e3:,.1f} kW x PUE {room.pue:g}; "
        f"{max(1, int(room.rack // each))} in a rack of {room.rack / 1e3:g} kW"
    )


def _cost_basis(sides: Sequence[Side], prices: Prices, power: float, hours: float, total: float) -> str:
    bought = " + ".join(
        f"{side.servers} x {prices.of(side.hardware.accelerator.name).server_of_eight:,.0f}" for side in sides
    )
    return (
        f"cost {total:,.0f} {prices.currency} = {bought} + {power / 1e3:,.1f} kW x {hours:,.0f} h x "
        f"{prices.power_per_kwh:g}; prices of {prices.asked}, yours"
    )
