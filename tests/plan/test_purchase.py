"""Purchases: whole servers, the user's prices, and nothing hidden when one is missing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stoker.errors import Unfit
from stoker.perf.accelerator import accelerator
from stoker.perf.hardware import Hardware, Nics
from stoker.perf.models import transformer
from stoker.perf.serving.curves import curves
from stoker.perf.serving.load import Load, Objective
from stoker.perf.serving.quantisation import quantisation
from stoker.perf.serving.replica import Lengths
from stoker.perf.stack import stack
from stoker.plan.prices import Price, Prices
from stoker.plan.purchase import HOURS_A_YEAR, Comparison, Room, Train, compare
from stoker.plan.serving import Wish

PRICES = Prices("CNY", "2026-11-01", 0.7, {"H20-96GB": Price(1e6), "H100-SXM5-80GB": Price(2.3e6)})
TRAIN = Train(transformer("llama-2-13b"), 300e9, 30)


def server(card: str) -> Hardware:
    return Hardware(card, accelerator(card), per_server=8, nics=Nics("", 8, 50e9))


def wish(rate: float) -> Wish:
    load, objective = Load(rate, Lengths(1000, 300)), Objective(1.0, 0.05)
    return Wish(transformer("qwen2.5-72b"), load, objective, quantisation("fp8"), curves("vllm"))


def buy(
    *cards: str, rate: float = 40, trains: tuple[Train, ...] = (TRAIN,), prices: Prices | None = PRICES
) -> Comparison:
    hardware = [server(card) for card in cards]
    return compare(hardware, trains, lambda _: [wish(rate)] if rate else [], stack("megatron"), Room(), prices)


def test_options_are_ranked_by_what_they_cost() -> None:
    found = buy("H20", "H100")
    assert [option.cost for option in found.options] == sorted(option.cost for option in found.options)
    assert {option.name for option in found.options} >= {"H20-96GB", "H100-SXM5-80GB", "H100-SXM5-80GB + H20-96GB"}


def test_cost_and_power_can_be_done_by_hand() -> None:
    [option] = buy("H100").options
    power = option.servers * (8 * 700 + 4600) * 1.3
    assert option.power == pytest.approx(power)
    assert option.cost == pytest.approx(option.servers * 2.3e6 + power / 1e3 * 3 * HOURS_A_YEAR * 0.7)
    assert option.racks == -(-option.servers // 3)  # three servers of 10.2 kW in 40 kW


def test_a_price_at_which_the_choice_changes() -> None:
    found = buy("H20", "H100")
    first = found.options[0]
    other = next(option for option in found.options[1:] if len(option.sides) == 1)
    share = other.breaks_even(first)
    assert 0 < share < 1
    name = other.sides[0].hardware.accelerator.name
    cheaper = replace(
        PRICES, accelerators={**PRICES.accelerators, name: Price(PRICES.of(name).server_of_eight * share)}
    )
    again = {option.name: option.cost for option in buy("H20", "H100", prices=cheaper).options}
    assert again[name] == pytest.approx(first.cost)


def test_twice_the_tokens_take_twice_the_servers() -> None:
    once, twice = (buy("H100", rate=0, trains=(replace(TRAIN, tokens=n),)).options[0] for n in (300e9, 600e9))
    assert 1.5 <= twice.servers / once.servers <= 2.1


def test_without_prices_there_is_no_cost_and_no_ranking_by_it() -> None:
    found = buy("H20", "H100", prices=None)
    assert all(option.cost == 0 for option in found.options)
    assert [option.cards for option in found.options] == sorted(option.cards for option in found.options)


def test_a_card_that_cannot_is_told_with_its_reason() -> None:
    found = buy("H100", "T4")
    assert {card for card, _ in found.impossible} == {"T4"}
    with pytest.raises(Unfit, match="no card does all of it: T4"):
        buy("T4")
