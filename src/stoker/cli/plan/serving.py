"""``stoker plan serving``: replicas and cards for a load, what users see, and why not other layouts."""

from __future__ import annotations

import json as jsons
from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated, Any

import typer

from stoker.cli.plan.cluster import ClusterFile, Count, Explain, Gpu, Nic, described
from stoker.cli.plan.latency import Answer, EngineName, PriceFile, Prompt, Tpot, Ttft, lengths, objective
from stoker.cli.render import AsJson, clean, columns, note, say
from stoker.cli.texts import t
from stoker.errors import BadInput
from stoker.perf.hardware import Hardware
from stoker.perf.serving.curves import curves
from stoker.perf.serving.load import Load
from stoker.perf.serving.quantisation import quantisation as read_quantisation
from stoker.plan.prices import Prices
from stoker.plan.serving import Plan, Ranking, Wish, rank
from stoker.sources.prices import prices as read_prices
from stoker.sources.transformer_config import find_transformer

_SHOWN = 6  # layouts refused for different reasons


def serving(
    model: Annotated[str, typer.Argument(help="A name, or a folder with config.json.")],
    rate: Annotated[float, typer.Option("--rate", help="Requests a second in the busiest hour.")],
    cluster: ClusterFile = None,
    gpu: Gpu = "",
    count: Count = 8,
    nic: Nic = "",
    prompt: Prompt = 1000,
    answer: Answer = 300,
    ttft: Ttft = "1s",
    tpot: Tpot = "50ms",
    engine: EngineName = "vllm",
    quantisation: Annotated[str, typer.Option("--quantisation", help="bf16, fp8, fp4 or int4.")] = "fp8",
    prices: PriceFile = None,
    keep: Annotated[int, typer.Option("--best", help="How many layouts to show.")] = 5,
    explain: Explain = False,
    json: AsJson = False,
) -> None:
    """Rank ways to serve a load within an objective, by the cards they take."""
    if keep < 1:
        raise BadInput(f"--best {keep} was given; it must be 1 or more")
    load, hardware = Load(rate, lengths(prompt, answer)), described(cluster, gpu, count, nic)
    wish = Wish(
        find_transformer(model), load, objective(ttft, tpot), read_quantisation(quantisation), curves(engine)
    )
    if not wish.curves.engine.calibrated:
        note(f"{engine} is not calibrated: its overheads are estimates")
    found, money = rank(wish, hardware, keep=keep), read_prices(prices) if prices else None
    if json:
        print(jsons.dumps(_plain(found, wish, hardware, money), ensure_ascii=False, indent=1), flush=True)
        return
    say(_report(found, wish, hardware, money))
    if explain:
        say("\n" + "\n".join(clean(line) for line in _explained(found, wish, hardware)))


def _report(found: Ranking, wish: Wish, hardware: Hardware, money: Prices | None) -> str:
    shown = found.best or ((found.apart,) if found.apart else ())
    table = columns(_HEADER, [_row(plan, wish, hardware, money) for plan in shown], right=_HEADER[1:])
    return "\n".join(
        [clean(_head(wish, hardware)), table, *_apart(found), *_beyond(found, hardware), *_against(found)]
    )


def _head(wish: Wish, hardware: Hardware) -> str:
    return t(
        "{model} in {formats}, {engine}, on {card}: {rate} requests/s of {prompt} + {answer} tokens; "
        "first token within {ttft} s for 95 %, then one every {tpot} ms",
        model=wish.model.name,
        formats=wish.quantisation.name,
        engine=wish.curves.engine.name,
        card=hardware.accelerator.name,
        rate=f"{wish.load.rate:g}",
        prompt=f"{wish.load.lengths.prompt:,.0f}",
        answer=f"{wish.load.lengths.answer:,.0f}",
        ttft=f"{wish.objective.ttft:g}",
        tpot=f"{wish.objective.tpot * 1e3:g}",
    )


_HEADER = ("LAYOUT", "CARDS", "REPLICAS", "TTFT", "95%", "TPOT", "BATCH", "TOKENS/S", "COST/M")


def _row(plan: Plan, wish: Wish, hardware: Hardware, money: Prices | None) -> tuple[str, ...]:
    service = plan.service
    cost = _cost(plan, wish, hardware, money)
    return (
        str(plan.split),
        f"{plan.cards:,}",
        f"{plan.replicas}" + (f" + {plan.prefillers}" if plan.prefillers else ""),
        f"{service.ttft * 1e3:,.0f} ms",
        f"{service.ttft_tail * 1e3:,.0f} ms",
        f"{service.tpot * 1e3:,.1f} ms",
        f"{service.running:,.0f}/{plan.best_batch:,.0f}",
        f"{wish.load.rate * wish.load.lengths.answer:,.0f}",
        f"{cost:,.2f}" if cost else "-",
    )


def _cost(plan: Plan, wish: Wish, hardware: Hardware, money: Prices | None) -> float:
    """Of a million answered tokens at the rate asked for, from the price of an hour; 0 when there is none."""
    hour = money.of(hardware.accelerator.name).hour if money else 0.0
    return plan.cards * hour / 3600 / (wish.load.rate * wish.load.lengths.answer) * 1e6


def _apart(found: Ranking) -> Iterator[str]:
    if found.apart is None or not found.best:
        return
    text = (
        t(
            "separate prefill pays off: {cards} cards ({layout}, {decoding} replicas decode, {prefilling} prefill)",
            cards=found.apart.cards,
            layout=str(found.apart.split),
            decoding=found.apart.replicas,
            prefilling=found.apart.prefillers,
        )
        if found.apart_pays
        else t("separate prefill does not pay off: {cards} cards at best", cards=found.apart.cards)
    )
    yield ""
    yield clean(text)


def _beyond(found: Ranking, hardware: Hardware) -> Iterator[str]:
    fewest = min(plan.cards for plan in (*found.best, *((found.apart,) if found.apart else ())))
    if fewest > hardware.count:
        yield t("the cluster described has {count} cards: too few", count=hardware.count)


def _against(found: Ranking) -> list[str]:
    if not found.rejected:
        return []
    rows = [f"  {one.layout}: {one.reason}" for one in found.rejected]
    more = [f"  (+{len(rows) - _SHOWN}; --json)"] if len(rows) > _SHOWN else []
    return ["", t("not taken"), *(clean(row) for row in rows[-_SHOWN:]), *more]


def _explained(found: Ranking, wish: Wish, hardware: Hardware) -> Iterator[str]:
    best = found.best[0] if found.best else found.apart
    if best is None:
        return
    for one in best.expectations(wish.load):
        yield f"{one.name} {one.value:,.4g} {one.unit} ({one.low:,.4g} to {one.high:,.4g}): {one.basis}"
    yield f"cards: {best.replicas} + {best.prefillers} replicas x {best.split.devices} devices"
    yield f"replicas: {wish.load.rate:g} requests/s / {best.most:.3g} a replica takes at most within the objective"
    yield f"memory of {hardware.accelerator.name}: {hardware.accelerator.memory}"


def _plain(found: Ranking, wish: Wish, hardware: Hardware, money: Prices | None) -> dict[str, Any]:
    def one(plan: Plan) -> dict[str, Any]:
        return {
            "split": asdict(plan.split),
            "cards": plan.cards,
            "replicas": plan.replicas,
            "prefill_replicas": plan.prefillers,
            "ttft_95_seconds": plan.service.ttft_tail,
            "requests_per_replica_at_most": plan.most,
            "running": plan.service.running,
            "best_batch": plan.best_batch,
            "expectations": {item.name: asdict(item) for item in plan.expectations(wish.load)},
            "cost_per_million_tokens": _cost(plan, wish, hardware, money) or None,
        }

    return {
        "model": wish.model.name,
        "accelerator": hardware.accelerator.name,
        "available": hardware.count,
        "engine": wish.curves.engine.name,
        "calibrated": wish.curves.engine.calibrated,
        "quantisation": wish.quantisation.name,
        "currency": money.currency if money else None,
        "best": [one(plan) for plan in found.best],
        "apart": one(found.apart) if found.apart else None,
        "apart_pays": found.apart_pays,
        "not_taken": [asdict(item) for item in found.rejected],
    }
