"""The page of ``stoker plan serving``: replicas and cards for a load, and what users see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from stoker.console.plan_page import Page, Section, Table, cluster, form, names, number, plain, show
from stoker.console.session import PageRoute, Viewer
from stoker.console.texts import Say
from stoker.errors import StokerError
from stoker.perf.accelerator import accelerators
from stoker.perf.models import transformer
from stoker.perf.serving.curves import curves, engines
from stoker.perf.serving.load import Load, Objective
from stoker.perf.serving.quantisation import QUANTISATIONS, quantisation
from stoker.perf.serving.replica import Lengths
from stoker.plan.serving import Plan, Ranking, Wish, rank
from stoker.units import parse_latency

_SPREAD = 0.5  # answers' standard deviation by their mean
_SHOWN = 6  # layouts refused for different reasons

router = APIRouter(route_class=PageRoute)


@dataclass(frozen=True)
class Asked:
    """The form, as it was filled in."""

    model: Annotated[str, Query(max_length=64)] = "qwen2.5-72b"
    card: Annotated[str, Query(max_length=64)] = "H100-SXM5-80GB"
    count: Annotated[str, Query(max_length=8)] = "8"
    rate: Annotated[str, Query(max_length=10)] = "10"
    prompt: Annotated[str, Query(max_length=10)] = "1000"
    answer: Annotated[str, Query(max_length=10)] = "300"
    ttft: Annotated[str, Query(max_length=10)] = "1s"
    tpot: Annotated[str, Query(max_length=10)] = "50ms"
    engine: Annotated[str, Query(max_length=16)] = "vllm"
    formats: Annotated[str, Query(max_length=10)] = "fp8"
    hour_price: Annotated[str, Query(max_length=12)] = ""


@router.get("/plans/serving")
def serving_page(view: Viewer, asked: Annotated[Asked, Depends()]) -> Response:
    say, wrong = view.say, ""
    sections: tuple[Section, ...] = ()
    try:
        wish = _wish(asked)
        found = rank(wish, cluster(asked.card, asked.count, "400Gb/s"))
        sections = _sections(say, found, wish, number(asked.hour_price, "price"))
    except StokerError as error:
        wrong = say.error(error)
    options = {
        "model": names(), "card": tuple(card.name for card in accelerators()), "engine": engines(),
        "formats": tuple(QUANTISATIONS),
    }  # fmt: skip
    return show(view, Page("serving", form(say, asked, options), sections, wrong))


def _wish(asked: Asked) -> Wish:
    lengths = Lengths(number(asked.prompt, "prompt"), number(asked.answer, "answer"), _SPREAD)
    return Wish(
        transformer(asked.model), Load(number(asked.rate, "rate"), lengths),
        Objective(parse_latency(asked.ttft), parse_latency(asked.tpot)), quantisation(asked.formats),
        curves(asked.engine),
    )  # fmt: skip


def _sections(say: Say, found: Ranking, wish: Wish, price: float) -> tuple[Section, ...]:
    shown = found.best or ((found.apart,) if found.apart else ())
    basis = tuple(
        f"{one.name} {one.value:,.4g} {one.unit}: {one.basis}" for one in shown[0].expectations(wish.load)
    )
    tokens = [(_name(plan), f"{plan.service.tpot * 1e3:,.1f} ms", plan.service.tpot) for plan in shown]
    first = [(_name(plan), f"{plan.service.ttft_tail * 1e3:,.0f} ms", plan.service.ttft_tail) for plan in shown]
    note = "" if wish.curves.engine.calibrated else say("plan_serving.estimates", engine=wish.curves.engine.name)
    refused = tuple(f"{one.layout}: {say.error(one.reason)}" for one in found.rejected[-_SHOWN:])
    return (
        Section(
            "plan-layouts", say("plan_serving.layouts"), note, table=_table(say, shown, wish, price), basis=basis
        ),
        Section("plan-first", say("plan_serving.first"), chart=plain(first, limit=wish.objective.ttft)),
        Section("plan-tokens", say("plan_serving.later"), chart=plain(tokens, limit=wish.objective.tpot)),
        Section("plan-apart", say("plan_serving.apart"), lines=(_apart(say, found),)),
        Section("plan-against", say("plan.not_taken"), lines=refused),
    )


def _name(plan: Plan) -> str:
    return f"{_replicas(plan)} × ({plan.split})"


def _replicas(plan: Plan) -> str:
    """Those that decode, and those that only prefill."""
    return f"{plan.replicas} + {plan.prefillers}" if plan.prefillers else f"{plan.replicas}"


def _table(say: Say, shown: tuple[Plan, ...], wish: Wish, price: float) -> Table:
    header = ("layout", "cards", "replicas", "ttft", "tail", "tpot", "batch", "cost")
    tokens = wish.load.rate * wish.load.lengths.answer
    rows = tuple(
        (
            str(plan.split), f"{plan.cards:,}", _replicas(plan),
            f"{plan.service.ttft * 1e3:,.0f} ms", f"{plan.service.ttft_tail * 1e3:,.0f} ms",
            f"{plan.service.tpot * 1e3:,.1f} ms", f"{plan.service.running:,.0f} / {plan.best_batch:,.0f}",
            f"{plan.cards * price / 3600 / tokens * 1e6:,.2f}" if price else "–",
        )
        for plan in shown
    )  # fmt: skip
    return Table(tuple(say(f"plan_serving.{name}") for name in header), rows)


def _apart(say: Say, found: Ranking) -> str:
    if found.apart is None:
        return say("plan_serving.never_apart")
    cards, layout = f"{found.apart.cards:,}", _name(found.apart)
    if found.apart_pays:
        return say("plan_serving.pays", cards=cards, layout=layout)
    return say("plan_serving.does_not_pay", cards=cards, layout=layout)
