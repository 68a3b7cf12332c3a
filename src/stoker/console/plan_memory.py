"""The page of ``stoker plan memory``: what a layout takes of a device, part by part, and whether it fits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from stoker.console.plan_page import Page, Section, Table, cluster, form, names, plain, show, whole
from stoker.console.session import PageRoute, Viewer
from stoker.console.texts import Say
from stoker.errors import BadInput, StokerError
from stoker.perf.accelerator import Accelerator, accelerators
from stoker.perf.layout import RECOMPUTES, SHARDINGS, Layout, Workload, check
from stoker.perf.layout_memory import DeviceMemory, device_memory, fits
from stoker.perf.models import transformer
from stoker.perf.precision import precision
from stoker.units import format_bytes

router = APIRouter(route_class=PageRoute)


@dataclass(frozen=True)
class Asked:
    """The form, as it was filled in."""

    model: Annotated[str, Query(max_length=64)] = "qwen2.5-14b"
    card: Annotated[str, Query(max_length=64)] = "H100-SXM5-80GB"
    count: Annotated[str, Query(max_length=8)] = "8"
    sequence: Annotated[str, Query(max_length=8)] = "4096"
    micro_batch: Annotated[str, Query(max_length=6)] = "1"
    precision: Annotated[str, Query(max_length=8)] = "bf16"
    tp: Annotated[str, Query(max_length=4)] = "1"
    pp: Annotated[str, Query(max_length=4)] = "1"
    cp: Annotated[str, Query(max_length=4)] = "1"
    ep: Annotated[str, Query(max_length=4)] = "1"
    sharding: Annotated[str, Query(max_length=12)] = "full"
    recompute: Annotated[str, Query(max_length=12)] = "none"


@router.get("/plans/memory")
def memory_page(view: Viewer, asked: Annotated[Asked, Depends()]) -> Response:
    say, wrong = view.say, ""
    sections: tuple[Section, ...] = ()
    try:
        card, needed = _needed(asked)
        sections = _sections(say, card, needed)
    except StokerError as error:
        wrong = say.error(error)
    options = {
        "model": names(), "card": tuple(card.name for card in accelerators()),
        "precision": ("bf16", "fp16", "fp8"),
        "sharding": SHARDINGS, "recompute": RECOMPUTES,
    }  # fmt: skip
    return show(view, Page("memory", form(say, asked, options), sections, wrong))


def _needed(asked: Asked) -> tuple[Accelerator, DeviceMemory]:
    on, shape = cluster(asked.card, asked.count), transformer(asked.model)
    tp, pp, cp, ep = (whole(getattr(asked, name), name) for name in ("tp", "pp", "cp", "ep"))
    sharding = next((one for one in SHARDINGS if one == asked.sharding), None)
    recompute = next((one for one in RECOMPUTES if one == asked.recompute), None)
    if sharding is None or recompute is None:
        raise BadInput(f"allowed are {', '.join(SHARDINGS)}; and {', '.join(RECOMPUTES)}")
    layout = Layout(
        on.count, tp, pp, cp, ep, micro_batch=whole(asked.micro_batch, "sequences"), sharding=sharding,
        recompute=recompute,
    )  # fmt: skip
    work = Workload(
        layout.dp * layout.micro_batch * pp, whole(asked.sequence, "tokens"), precision(asked.precision)
    )
    check(shape, work, layout)
    return on.accelerator, device_memory(shape, work, layout)


def _sections(say: Say, card: Accelerator, needed: DeviceMemory) -> tuple[Section, ...]:
    bound = needed.expectation()
    sizes = {name: size for name, size in needed.parts().items() if size}
    parts = [(say.word("plan_part_of", name), format_bytes(size), size) for name, size in sizes.items()]
    total = (say("plan_memory.needed"), format_bytes(needed.total), needed.total)
    there = (say("plan_memory.there"), format_bytes(card.memory_bytes), card.memory_bytes)
    verdict = say("plan_memory.fits") if fits(needed, card) else say("plan_memory.not")
    return (
        Section(
            "plan-fits", verdict, say("plan_memory.bound", bound=format_bytes(bound.high)),
            chart=plain([*parts, total, there], say("plan_memory.chart"), limit=card.memory_bytes),
            table=Table((say("plan_memory.part"), say("plan_memory.size")),
                        tuple((name, size) for name, size, _ in [*parts, total, there])),
            basis=(bound.basis, f"{card.name}: {card.memory}"),
        ),
    )  # fmt: skip
