"""The page of ``stoker plan purchase``: which cards, how many, and what they cost, for training and serving."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from stoker.console.plan_page import (
    Chart,
    Page,
    Section,
    Table,
    cluster,
    form,
    names,
    number,
    plain,
    show,
    stacked,
)
from stoker.console.session import PageRoute, Viewer
from stoker.console.texts import Say
from stoker.errors import BadInput, StokerError
from stoker.perf.accelerator import accelerator
from stoker.perf.hardware import Hardware
from stoker.perf.models import transformer
from stoker.perf.serving.curves import curves, engines
from stoker.perf.serving.load import Load, Objective
from stoker.perf.serving.quantisation import quantisation
from stoker.perf.serving.replica import Lengths
from stoker.perf.stack import stack
from stoker.plan.prices import Price, Prices
from stoker.plan.purchase import Comparison, Option, Room, Train, compare
from stoker.plan.serving import Wish
from stoker.units import parse_latency

_NONE = "–"
_MOST_CARDS = 4  # kinds that are compared on a page
_MONTH = 30.0  # days

router = APIRouter(route_class=PageRoute)


@dataclass(frozen=True)
class Asked:
    """The form, as it was filled in. `prices`: card=price of a server of eight, of the user's own."""

    cards: Annotated[str, Query(max_length=120)] = "H100, H20, 910B3"
    train: Annotated[str, Query(max_length=64)] = "llama-2-13b"
    tokens: Annotated[str, Query(max_length=12)] = "300e9"
    serve: Annotated[str, Query(max_length=64)] = "qwen2.5-72b"
    rate: Annotated[str, Query(max_length=10)] = "40"
    prompt: Annotated[str, Query(max_length=10)] = "1000"
    answer: Annotated[str, Query(max_length=10)] = "300"
    ttft: Annotated[str, Query(max_length=10)] = "1s"
    tpot: Annotated[str, Query(max_length=10)] = "50ms"
    engine: Annotated[str, Query(max_length=16)] = "vllm"
    prices: Annotated[str, Query(max_length=200)] = "H100=2300000, H20=1000000, 910B3=1100000"
    currency: Annotated[str, Query(max_length=8)] = "CNY"
    kwh: Annotated[str, Query(max_length=8)] = "0.7"
    years: Annotated[str, Query(max_length=6)] = "3"


@router.get("/plans/purchase")
def purchase_page(view: Viewer, asked: Annotated[Asked, Depends()]) -> Response:
    say, wrong = view.say, ""
    sections: tuple[Section, ...] = ()
    try:
        money = _prices(asked)
        sections = _sections(say, _compare(asked, money), money)
    except StokerError as error:
        wrong = say.error(error)
    known = (_NONE, *names())
    options = {"train": known, "serve": known, "engine": engines()}
    return show(view, Page("purchase", form(say, asked, options, ("cards", "prices")), sections, wrong))


def _compare(asked: Asked, money: Prices | None) -> Comparison:
    kinds = [name.strip() for name in asked.cards.split(",") if name.strip()]
    if not 1 <= len(kinds) <= _MOST_CARDS:
        raise BadInput(f'cards "{asked.cards}" were given; name 1 to {_MOST_CARDS}, as H100, H20')
    if _NONE in (asked.train, asked.serve) and asked.train == asked.serve:
        raise BadInput("choose a model to train, one to serve, or both")
    trains = []
    if asked.train != _NONE:
        trains = [Train(transformer(asked.train), _above(asked.tokens, "tokens"), _MONTH)]
    years = _above(asked.years, "years")
    return compare(
        [cluster(kind, "8", "400Gb/s") for kind in kinds], trains, lambda on: _wishes(asked, on), stack("megatron"),
        Room(years=years), money,
    )  # fmt: skip


def _wishes(asked: Asked, on: Hardware) -> list[Wish]:
    if asked.serve == _NONE:
        return []
    lengths = Lengths(number(asked.prompt, "prompt"), number(asked.answer, "answer"), 0.5)
    objective = Objective(parse_latency(asked.ttft), parse_latency(asked.tpot))
    formats = quantisation("fp8" if on.accelerator.supports("fp8") else "bf16")
    load = Load(number(asked.rate, "rate"), lengths)
    return [Wish(transformer(asked.serve), load, objective, formats, curves(asked.engine))]


def _above(given: str, what: str) -> float:
    found = number(given, what)
    if not found:
        raise BadInput(f'{what} "{given}" was given; it must be above 0')
    return found


def _prices(asked: Asked) -> Prices | None:
    """None when no price is given. Raises BadInput or NotFound for what is wrong."""
    found = {}
    for part in filter(None, (part.strip() for part in asked.prices.split(","))):
        name, sign, price = part.partition("=")
        if not sign:
            raise BadInput(f'price "{part}" was given; write card=price of a server of eight, as H20=1000000')
        found[accelerator(name.strip()).name] = Price(server_of_eight=number(price.strip(), "price"))
    return Prices(asked.currency, "", number(asked.kwh, "price of a kWh"), found) if found else None


def _sections(say: Say, found: Comparison, money: Prices | None) -> tuple[Section, ...]:
    why = tuple(f"{option.name}: {'; '.join(map(say.error, option.why))}" for option in found.options)
    impossible = tuple(f"{name}: {say.error(reason)}" for name, reason in found.impossible)
    priced = money is not None and all(option.cost for option in found.options)
    return (
        Section("plan-options", say("plan_purchase.options"), say("plan_purchase.yours"),
                table=_table(say, found, money), lines=_even(say, found),
                basis=tuple(line for option in found.options for line in option.basis)),
        Section("plan-cost", say("plan_purchase.cost") if priced else say("plan_purchase.power"),
                chart=_costs(say, found, money) if priced and money else _powers(found)),
        Section("plan-why", say("plan_purchase.why"), lines=(*why, *impossible)),
    )  # fmt: skip


def _table(say: Say, found: Comparison, money: Prices | None) -> Table:
    header = ("option", "cards", "servers", "racks", "power", "cost")
    rows = tuple(
        (
            option.name, " + ".join(f"{side.servers * side.hardware.per_server:,}" for side in option.sides),
            f"{option.servers:,}", f"{option.racks:,}", f"{option.power / 1e3:,.0f} kW", _cost(option, money),
        )
        for option in found.options
    )  # fmt: skip
    return Table(tuple(say(f"plan_purchase.{name}") for name in header), rows)


def _cost(option: Option, money: Prices | None) -> str:
    return f"{option.cost / 1e6:,.2f} M {money.currency}" if money and option.cost else "–"


def _costs(say: Say, found: Comparison, money: Prices) -> Chart:
    parts = {"servers": say("plan_purchase.servers"), "energy": say("plan_purchase.energy")}
    rows = [
        (option.name, _cost(option, money), {"servers": option.bought, "energy": option.energy})
        for option in found.options
    ]
    return stacked(rows, parts, say("plan_purchase.cost"))


def _powers(found: Comparison) -> Chart:
    return plain([(option.name, f"{option.power / 1e3:,.0f} kW", option.power) for option in found.options])


def _even(say: Say, found: Comparison) -> tuple[str, ...]:
    first = found.options[0]
    shares = [(option, option.breaks_even(first)) for option in found.options[1:] if len(option.sides) == 1]
    return tuple(
        say("plan_purchase.even", option=option.name, first=first.name, share=f"{share:.0%}")
        for option, share in shares if share
    )  # fmt: skip
