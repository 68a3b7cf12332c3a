"""The page of plans: a network for so many cards, drawn, counted, and with the bandwidth it should give.

It is the same decider as behind ``stoker plan network``; the address of the page is the plan, to be passed on.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Literal, get_args

from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse
from markupsafe import Markup
from starlette.responses import Response

from stoker.console.plan_curve import Curve, curve
from stoker.console.session import PageRoute, Viewer
from stoker.console.texts import Say
from stoker.errors import BadInput, NotFound, StokerError
from stoker.perf.accelerator import accelerators
from stoker.perf.datasheet import sheets
from stoker.perf.hardware import Hardware
from stoker.perf.network import nic, switch
from stoker.perf.rate import port_rate
from stoker.plan.network import Network, Topology, Wish, design
from stoker.plan.network_expected import Delivery, deliver
from stoker.plan.network_lists import Address, Cable, Item, addresses, bill, cables
from stoker.plan.network_picture import picture
from stoker.sources.hardware_file import hardware

_SERVER = 8  # cards
_MOST = 200_000  # cards; a page is not the place for more
_SIZES = tuple(1 << power for power in range(20, 34))
_CHUNK = 5_000  # rows of a list sent at once

router = APIRouter(route_class=PageRoute)


@dataclass(frozen=True)
class Asked:
    """The form, as it was filled in."""

    card: Annotated[str, Query(max_length=64)] = "H100-SXM5-80GB"
    count: Annotated[str, Query(max_length=12)] = "1024"
    nics: Annotated[str, Query(max_length=6)] = "8"
    speed: Annotated[str, Query(max_length=16)] = "400Gb/s"
    model: Annotated[str, Query(max_length=32)] = "QM9700"
    topology: Annotated[str, Query(max_length=16)] = "rail"
    ratio: Annotated[str, Query(max_length=8)] = "1"


@dataclass(frozen=True)
class Planned:
    """What the template shows."""

    network: Network
    delivered: Delivery
    items: tuple[Item, ...]
    curve: Curve
    picture: Markup  # our own SVG: every word in it is escaped


@router.get("/plans")
def plans_page(view: Viewer, asked: Annotated[Asked, Depends()]) -> Response:
    planned, wrong = None, ""
    try:
        planned = _plan(asked, view.say)
    except StokerError as error:
        wrong = view.say.error(error)
    return view.page(
        "plans.html", asked=asked, planned=planned, wrong=wrong, cards=[card.name for card in accelerators()],
        switches=list(sheets("switches")), topologies=get_args(Topology), query=view.request.url.query,
    )  # fmt: skip


@router.get("/plans/{name}.csv")
def plan_list(view: Viewer, name: Literal["cables", "addresses"], asked: Annotated[Asked, Depends()]) -> Response:  # noqa: ARG001 - who looks must be signed in
    _, network = _design(asked)
    rows: Iterable[Sequence[object]] = cables(network) if name == "cables" else addresses(network, "10.0.0.0/8")
    header = Cable._fields if name == "cables" else Address._fields
    attachment = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    return StreamingResponse(_csv(header, rows), media_type="text/csv", headers=attachment)


def _plan(asked: Asked, say: Say) -> Planned:
    def words(key: str, /, **values: object) -> str:
        return say(f"plan_picture.{key}", **values)

    servers, network = _design(asked)
    delivered = deliver(network, servers, nic("ConnectX-7"), _SIZES)
    return Planned(
        network,
        delivered,
        bill(network),
        curve(_SIZES, [step.bus_bandwidth for step in delivered.all_reduce], delivered.bound),
        Markup(picture(network, style=False, say=words)),  # noqa: S704 - every word in it is escaped
    )


def _design(asked: Asked) -> tuple[Hardware, Network]:
    """Raises BadInput or NotFound for the first field that is wrong, and Unfit for what cannot be wired."""
    count = _whole(asked.count, "cards")
    if count > _MOST or (count > _SERVER and count % _SERVER):
        raise BadInput(f"{count} cards were given; allowed are up to {_MOST:,}, above {_SERVER} in whole servers")
    resources = {"gpu": {"type": asked.card, "count": min(count, _SERVER)}}
    described = hardware({"servers": max(1, count // _SERVER), "resources": resources})
    topology = next((one for one in get_args(Topology) if one == asked.topology), None)
    if topology is None:
        raise NotFound.named("topology", asked.topology, get_args(Topology))
    try:
        ratio = float(asked.ratio)
    except ValueError:
        raise BadInput(f'oversubscription "{asked.ratio}" was given; write a number of 1 or more') from None
    used, ports = switch(asked.model), _whole(asked.nics, "ports")
    return described, design(
        Wish(described.servers, ports, port_rate(asked.speed, "speed"), used, used, topology, ratio)
    )


def _whole(given: str, what: str) -> int:
    if not given.isascii() or not given.isdigit() or int(given) < 1:
        raise BadInput(f'"{given}" {what} were given; write a whole number of 1 or more')
    return int(given)


def _csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """The list in pieces, so that the longest takes no memory."""
    left = iter([header])
    rows = iter(rows)
    while chunk := [*left, *islice(rows, _CHUNK)]:
        text = io.StringIO()
        csv.writer(text).writerows(chunk)
        yield text.getvalue()
