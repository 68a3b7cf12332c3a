"""``stoker plan purchase``: which cards, how many, and what they cost, for a mix of training and serving."""

from __future__ import annotations

import json as jsons
import re
from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated, Any

import typer

from stoker.cli.plan.cluster import Explain
from stoker.cli.plan.latency import Answer, EngineName, PriceFile, Prompt, Tpot, Ttft, lengths, objective
from stoker.cli.render import AsJson, clean, columns, say
from stoker.cli.texts import t
from stoker.errors import BadInput
from stoker.perf.hardware import Hardware
from stoker.perf.serving.curves import curves
from stoker.perf.serving.load import Load
from stoker.perf.serving.quantisation import quantisation as read_quantisation
from stoker.perf.stack import stack as find_stack
from stoker.plan.prices import Prices
from stoker.plan.purchase import Comparison, Option, Room, Train, compare
from stoker.plan.serving import Wish
from stoker.sources.hardware_file import hardware
from stoker.sources.prices import prices as read_prices
from stoker.sources.transformer_config import find_transformer

_TRAIN = re.compile(r"^(?P<model>.+):(?P<tokens>[0-9.e+]+)(?:-tokens)?/(?P<period>day|week|month|year)$")
_SERVE = re.compile(r"^(?P<model>.+):(?P<rate>[0-9.]+)(?:req)?/s$")
_DAYS = {"day": 1.0, "week": 7.0, "month": 30.0, "year": 365.0}
_SIZES = {  # sizes people say, as the dense model of that size that most are built like
    "7b": "llama-2-7b", "8b": "llama-3.1-8b", "13b": "llama-2-13b", "14b": "qwen2.5-14b", "32b": "qwen2.5-32b",
    "70b": "llama-3.1-70b", "72b": "qwen2.5-72b", "405b": "llama-3.1-405b",
}  # fmt: skip


def purchase(
    cards: Annotated[str, typer.Option("--cards", help="Kinds to compare, as H20,H100,910B.")],
    train: Annotated[
        list[str] | None, typer.Option("--train", metavar="MODEL:TOKENS/PERIOD", help="As 13b:300e9-tokens/month.")
    ] = None,
    serve: Annotated[
        list[str] | None, typer.Option("--serve", metavar="MODEL:RATE", help="As qwen2.5-72b:40req/s.")
    ] = None,
    prompt: Prompt = 1000,
    answer: Answer = 300,
    ttft: Ttft = "1s",
    tpot: Tpot = "50ms",
    engine: EngineName = "vllm",
    quantisation: Annotated[
        str, typer.Option("--quantisation", help="Of served models; auto: fp8 where the card has it, else bf16.")
    ] = "auto",
    nic: Annotated[str, typer.Option("--nic", metavar="SPEED", help="A network port for each card.")] = "400Gb/s",
    years: Annotated[float, typer.Option("--years", help="Years that are counted.")] = 3.0,
    pue: Annotated[float, typer.Option("--pue", help="Power at the meter, by that of the servers.")] = 1.3,
    rack: Annotated[float, typer.Option("--rack-kw", help="Power one rack gives, kW.")] = 40.0,
    prices: PriceFile = None,
    explain: Explain = False,
    json: AsJson = False,
) -> None:
    """Compare kinds of cards for a mix of training and serving: servers, racks, power and cost."""
    if not train and not serve:
        raise BadInput("give what they are for: --train MODEL:TOKENS/PERIOD, --serve MODEL:RATE, or both")
    for name, number in (("--years", years), ("--rack-kw", rack)):
        if not number > 0:
            raise BadInput(f"{name} {number:g} was given; it must be above 0")
    if pue < 1:
        raise BadInput(f"--pue {pue:g} was given; it is 1 or more")
    trains, served = [_train(text) for text in train or ()], [_serve(text) for text in serve or ()]
    asked, kind = objective(ttft, tpot), curves(engine)

    def wishes(on: Hardware) -> list[Wish]:
        formats = read_quantisation(_format(on, quantisation))
        return [Wish(model, Load(rate, lengths(prompt, answer)), asked, formats, kind) for model, rate in served]

    servers = [_server(name.strip(), nic) for name in cards.split(",") if name.strip()]
    if not servers:
        raise BadInput(f'--cards "{cards}" was given; write for example H20,H100,910B')
    money = read_prices(prices) if prices else None
    room = Room(years=years, pue=pue, rack=rack * 1e3)
    found = compare(servers, trains, wishes, find_stack("megatron"), room, money)
    if json:
        print(jsons.dumps(_plain(found, money), ensure_ascii=False, indent=1), flush=True)
        return
    say(_report(found, money, years))
    if explain:
        say("\n" + "\n".join(clean(line) for line in _explained(found)))


def _train(text: str) -> Train:
    match = _TRAIN.match(text)
    if not match:
        raise BadInput(f'--train "{text}" was given; write MODEL:TOKENS/PERIOD, as 13b:300e9-tokens/month')
    tokens = _number(match["tokens"], "--train")
    return Train(_model(match["model"]), tokens, _DAYS[match["period"]])


def _serve(text: str) -> tuple[Any, float]:
    match = _SERVE.match(text)
    if not match:
        raise BadInput(f'--serve "{text}" was given; write MODEL:RATE, as qwen2.5-72b:40req/s')
    return _model(match["model"]), _number(match["rate"], "--serve")


def _number(text: str, option: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not found > 0:
        raise BadInput(f'{option}: "{text}" was given; it must be a number above 0, as 40 or 300e9')
    return found


def _model(name: str) -> Any:
    return find_transformer(_SIZES.get(name.casefold(), name))


def _server(name: str, nic: str) -> Hardware:
    return hardware(
        {"name": name, "resources": {"gpu": {"type": name, "count": 8}, "nic": {"count": 8, "speed": nic}}},
        what="--cards",
    )


def _format(on: Hardware, asked: str) -> str:
    if asked != "auto":
        return asked
    return "fp8" if on.accelerator.supports("fp8") else "bf16"


_HEADER = ("OPTION", "CARDS", "SERVERS", "RACKS", "POWER", "COST")


def _report(found: Comparison, money: Prices | None, years: float) -> str:
    table = columns(_HEADER, [_row(option, money) for option in found.options], right=_HEADER[1:])
    lines = [table, ""]
    lines += [clean(f"{option.name}: {'; '.join(option.why)}") for option in found.options]
    lines += [clean(f"{name}: {reason}") for name, reason in found.impossible]
    return "\n".join([*lines, "", *_sensitivity(found), _prices(money, years)])


def _row(option: Option, money: Prices | None) -> tuple[str, ...]:
    cost = f"{option.cost / 1e6:,.2f} M {money.currency}" if money and option.cost else "-"
    return (
        option.name,
        " + ".join(f"{side.servers * side.hardware.per_server}" for side in option.sides),
        f"{option.servers}",
        f"{option.racks}",
        f"{option.power / 1e3:,.0f} kW",
        cost,
    )


def _sensitivity(found: Comparison) -> Iterator[str]:
    first = found.options[0]
    for option in found.options[1:]:
        share = option.breaks_even(first)
        if share and len(option.sides) == 1:
            yield clean(
                t(
                    "{option} costs as much as {first} when its servers cost {share} of your price",
                    option=option.name,
                    first=first.name,
                    share=f"{share:.0%}",
                )
            )


def _prices(money: Prices | None, years: float) -> str:
    if money is None:
        return t("every number: --explain      no cost without your prices: --prices FILE")
    return t(
        "cost over {years} years with energy; every number: --explain      prices: yours, of {asked}",
        years=f"{years:g}",
        asked=money.asked,
    )


def _explained(found: Comparison) -> Iterator[str]:
    for option in found.options:
        yield f"{option.name}:"
        yield from (f"  {line}" for line in option.basis)


def _plain(found: Comparison, money: Prices | None) -> dict[str, Any]:
    first = found.options[0]

    def one(option: Option) -> dict[str, Any]:
        return {
            "option": option.name,
            "cards": {
                side.hardware.accelerator.name: side.servers * side.hardware.per_server for side in option.sides
            },
            "servers": option.servers,
            "racks": option.racks,
            "power_watts": option.power,
            "cost": option.cost or None,
            "servers_cost": option.bought or None,
            "energy_cost": option.energy or None,
            "breaks_even_at_share_of_price": option.breaks_even(first) or None,
            "why": list(option.why),
            "basis": list(option.basis),
            "expectations": [asdict(expectation) for expectation in option.speeds],
        }

    return {
        "currency": money.currency if money else None,
        "prices_of": money.asked if money else None,
        "options": [one(option) for option in found.options],
        "impossible": [{"card": name, "reason": reason} for name, reason in found.impossible],
    }
