"""The page of ``stoker plan storage``: checkpoints, restarts and data, and what the file system must have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from stoker.console import figures
from stoker.console.plan_page import Page, Section, Table, cluster, form, names, number, plain, show, whole
from stoker.console.session import PageRoute, Viewer
from stoker.console.texts import Say
from stoker.errors import StokerError
from stoker.perf.accelerator import accelerators
from stoker.perf.datasheet import sheets
from stoker.perf.models import transformer
from stoker.perf.rate import rate
from stoker.perf.storage import drive
from stoker.plan.storage import Need, StoragePlan, Wish, decide
from stoker.units import parse_bytes, parse_duration

router = APIRouter(route_class=PageRoute)


@dataclass(frozen=True)
class Asked:
    """The form, as it was filled in."""

    model: Annotated[str, Query(max_length=64)] = "llama-3.1-405b"
    card: Annotated[str, Query(max_length=64)] = "H100-SXM5-80GB"
    count: Annotated[str, Query(max_length=8)] = "1024"
    every: Annotated[str, Query(max_length=10)] = ""
    keep: Annotated[str, Query(max_length=6)] = "3"
    dataset: Annotated[str, Query(max_length=12)] = "50TB"
    data_rate: Annotated[str, Query(max_length=12)] = "5GB/s"
    restart_within: Annotated[str, Query(max_length=10)] = "5m"
    drives: Annotated[str, Query(max_length=4)] = "4"
    drive: Annotated[str, Query(max_length=48)] = "NVMe Gen4"
    read: Annotated[str, Query(max_length=12)] = "200GB/s"
    write: Annotated[str, Query(max_length=12)] = "100GB/s"
    capacity: Annotated[str, Query(max_length=12)] = "2PB"


@router.get("/plans/storage")
def storage_page(view: Viewer, asked: Annotated[Asked, Depends()]) -> Response:
    say, wrong = view.say, ""
    sections: tuple[Section, ...] = ()
    try:
        sections = _sections(say, decide(_wish(asked)))
    except StokerError as error:
        wrong = say.error(error)
    options = {
        "model": names(), "card": tuple(card.name for card in accelerators()), "drive": tuple(sheets("drives")),
    }  # fmt: skip
    return show(view, Page("storage", form(say, asked, options), sections, wrong))


def _wish(asked: Asked) -> Wish:
    told = {"total_read": asked.read, "total_write": asked.write, "capacity": asked.capacity}
    return Wish(
        cluster(asked.card, asked.count, storage={name: text for name, text in told.items() if text}),
        float(transformer(asked.model).parameters),
        every=parse_duration(asked.every) if asked.every else 0.0,
        keep=whole(asked.keep, "checkpoints"),
        dataset=float(parse_bytes(asked.dataset)) if asked.dataset else 0.0,
        data_rate=rate(asked.data_rate, "data rate") if asked.data_rate else 0.0,
        restart_within=parse_duration(asked.restart_within),
        drives=int(number(asked.drives, "drives")),
        drive=drive(asked.drive),
    )


def _sections(say: Say, planned: StoragePlan) -> tuple[Section, ...]:
    lost = [(say.word("plan_way", way.name), f"{way.loss:.2%}", way.loss) for way in planned.ways]
    note = say(
        "plan_storage.size",
        size=figures.quantity(planned.checkpoint.value, "B"),
        mtbf=figures.duration(planned.mtbf, say.language),
    )
    return (
        Section("plan-ways", say("plan_storage.ways"), note, chart=plain(lost, say("plan_storage.loss")),
                table=_ways(say, planned), basis=tuple(way.stop.basis for way in planned.ways)),
        Section("plan-needs", say("plan_storage.needs"), table=_needs(say, planned),
                basis=tuple(need.amount.basis for need in planned.needs)),
        *_caches(say, planned),
    )  # fmt: skip


def _ways(say: Say, planned: StoragePlan) -> Table:
    header = ("way", "stop", "every", "loss", "back", "outlives")
    rows = tuple(
        (
            say.word("plan_way", way.name), figures.duration(way.stop.value, say.language),
            figures.duration(way.interval, say.language),
            f"{way.loss:.2%}", figures.duration(way.restart.value, say.language) if way.restart else "–",
            _known(say, way.survives),
        )
        for way in planned.ways
    )  # fmt: skip
    return Table(tuple(say(f"plan_storage.{name}") for name in header), rows, frozenset({5}))


def _needs(say: Say, planned: StoragePlan) -> Table:
    def amount(need: Need, value: float) -> str:
        return f"{value / 1e9:,.1f} GB/s" if need.amount.unit == "B/s" else f"{value / 1e12:,.1f} TB"

    rows = tuple(
        (
            say.word("plan_need", need.name), amount(need, need.amount.value),
            amount(need, need.there) if need.there else "–", _known(say, need.enough),
        )
        for need in planned.needs
    )  # fmt: skip
    header = tuple(say(f"plan_storage.{name}") for name in ("what", "needed", "there", "enough"))
    return Table(header, rows, frozenset({3}))


def _caches(say: Say, planned: StoragePlan) -> tuple[Section, ...]:
    lines = tuple(
        f"{say.word('plan_tier', cache.tier.name)}: {_known(say, cache.holds)}" for cache in planned.caches
    )
    return (Section("plan-caches", say("plan_storage.caches"), lines=lines),) if lines else ()


def _known(say: Say, value: bool | None) -> str:
    if value is None:
        return say("plan_storage.untold")
    return say("plan_storage.yes") if value else say("plan_storage.no")
