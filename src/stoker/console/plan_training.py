"""The page of ``stoker plan training``: the best layouts, where a step's time goes, what fills the memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from stoker.console import figures
from stoker.console.plan_page import (
    Chart,
    Page,
    Section,
    Table,
    cluster,
    form,
    names,
    number,
    show,
    stacked,
    whole,
)
from stoker.console.session import PageRoute, Viewer
from stoker.console.texts import Say
from stoker.errors import StokerError
from stoker.perf.accelerator import accelerators
from stoker.perf.layout import Workload
from stoker.perf.models import transformer
from stoker.perf.precision import precision
from stoker.perf.stack import stack, stacks
from stoker.plan.training import Search, search
from stoker.units import format_bytes

_PRECISIONS = ("bf16", "fp16", "fp8", "mxfp8", "nvfp4")
_SHOWN = 6  # reasons against others

router = APIRouter(route_class=PageRoute)


@dataclass(frozen=True)
class Asked:
    """The form, as it was filled in."""

    model: Annotated[str, Query(max_length=64)] = "llama-3.1-70b"
    card: Annotated[str, Query(max_length=64)] = "H100-SXM5-80GB"
    count: Annotated[str, Query(max_length=8)] = "64"
    nic: Annotated[str, Query(max_length=16)] = "400Gb/s"
    batch: Annotated[str, Query(max_length=8)] = "256"
    sequence: Annotated[str, Query(max_length=8)] = "4096"
    precision: Annotated[str, Query(max_length=8)] = "bf16"
    stack: Annotated[str, Query(max_length=24)] = "megatron"
    tokens: Annotated[str, Query(max_length=12)] = "300e9"
    hour_price: Annotated[str, Query(max_length=12)] = ""


@router.get("/plans/training")
def training_page(view: Viewer, asked: Annotated[Asked, Depends()]) -> Response:
    say, wrong = view.say, ""
    sections: tuple[Section, ...] = ()
    try:
        sections = _sections(say, _search(asked), number(asked.tokens, "tokens"), number(asked.hour_price, "price"))
    except StokerError as error:
        wrong = say.error(error)
    options = {
        "model": names(), "card": tuple(card.name for card in accelerators()), "precision": _PRECISIONS,
        "stack": stacks(),
    }  # fmt: skip
    return show(view, Page("training", form(say, asked, options), sections, wrong))


def _search(asked: Asked) -> Search:
    workload = Workload(
        whole(asked.batch, "sequences"), whole(asked.sequence, "tokens"), precision(asked.precision),
        block_scaled=asked.precision.startswith(("mx", "nv")), states="lean",
    )  # fmt: skip
    on = cluster(asked.card, asked.count, asked.nic)
    return search(transformer(asked.model), on, workload, stack(asked.stack))


def _sections(say: Say, found: Search, tokens: float, price: float) -> tuple[Section, ...]:
    return (
        Section("plan-layouts", say("plan_training.layouts"), _told(say, found),
                table=_table(say, found, tokens, price), basis=_basis(found)),
        Section("plan-step", say("plan_training.step"), chart=_steps(say, found)),
        Section("plan-memory", say("plan_training.memory"), chart=_memory(say, found)),
        Section("plan-goodput", say("plan_training.goodput"), lines=(_goodput(say, found),)),
        Section("plan-against", say("plan.not_taken"), lines=_against(say, found)),
    )  # fmt: skip


def _told(say: Say, found: Search) -> str:
    key = "plan_training.looked_experts" if found.model.experts else "plan_training.looked"
    return say(
        key, layouts=f"{found.looked_at:,}", parameters=f"{found.model.parameters / 1e9:,.1f}",
        active=f"{found.model.active_parameters / 1e9:,.1f}",
    )  # fmt: skip


def _table(say: Say, found: Search, tokens: float, price: float) -> Table:
    header = ("layout", "step", "speed", "each", "mfu", "memory", "time", "cost")
    rows = []
    for plan in found.best:
        speed = found.speed(plan)
        seconds = found.seconds(tokens, plan) if tokens else 0.0
        cost = seconds / 3600 * price * found.hardware.count
        rows.append((
            str(plan.layout), f"{plan.time.total:.3g} s", f"{speed.value:,.0f}",
            f"{speed.value / found.hardware.count:,.0f}", f"{found.model_flops_share(plan).value:.1%}",
            format_bytes(plan.memory.total), figures.duration(seconds, say.language) if seconds else "–",
            f"{cost:,.0f}" if cost else "–",
        ))  # fmt: skip
    return Table(tuple(say(f"plan_training.{name}") for name in header), tuple(rows))


def _steps(say: Say, found: Search) -> Chart:
    parts = list(dict.fromkeys(name for plan in found.best for name, s in plan.time.parts().items() if s))
    words = {name: say.word("plan_part_of", name) for name in parts}
    rows = [(str(plan.layout), f"{plan.time.total:.3g} s", plan.time.parts()) for plan in found.best]
    return stacked(rows, words, say("plan_training.step"))


def _memory(say: Say, found: Search) -> Chart:
    parts = list(dict.fromkeys(name for plan in found.best for name, size in plan.memory.parts().items() if size))
    words = {name: say.word("plan_part_of", name) for name in parts}
    rows = [(str(plan.layout), format_bytes(plan.memory.total), plan.memory.parts()) for plan in found.best]
    return stacked(rows, words, say("plan_training.memory"))


def _goodput(say: Say, found: Search) -> str:
    kept = found.reliability()
    return say(
        "plan_training.kept", share=figures.quantity(kept.share, "share"),
        mtbf=figures.duration(kept.mtbf, say.language),
        interval=figures.duration(kept.interval, say.language),
        stands=figures.duration(kept.checkpoint, say.language),
    )  # fmt: skip


def _against(say: Say, found: Search) -> tuple[str, ...]:
    return tuple(
        f"{one.count:,} × {say.error(one.reason)} ({say.error(one.example)})" for one in found.rejected[:_SHOWN]
    )


def _basis(found: Search) -> tuple[str, ...]:
    best = found.best[0]
    return (
        found.speed(best).basis, "MFU: " + found.model_flops_share(best).basis,
        "HFU: " + found.hardware_flops_share(best).basis, best.memory.expectation().basis,
        found.reliability().expectation().basis,
    )  # fmt: skip
