"""A page for people: figures of one or several simulations, and how things went over time. One file, no script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Protocol

from stoker.simulate.outcome import Outcome
from stoker.simulate.picture import STYLE, Axis, Line, chart
from stoker.units import format_duration

_HOUR = 3600.0
_PAGE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:760px;margin:2em auto;padding:0 1em;color:#222}"
    "table{border-collapse:collapse}td,th{padding:.2em .8em;text-align:right;border-bottom:1px solid #ddd}"
    "td:first-child,th:first-child{text-align:left}"
    "@media(prefers-color-scheme:dark){body{background:#181a1b;color:#ddd}td,th{border-color:#444}}"
)

TEXTS: Mapping[str, str] = {
    "title": "Simulation of {trace}",
    "busy": "devices held",
    "waiting": "jobs that wait",
    "completion": "share of jobs done within a completion time",
    "hours": "hours",
    "devices": "devices",
    "jobs": "jobs",
    "share": "share",
}


class Say(Protocol):
    """One of the texts above, filled, in somebody's language."""

    def __call__(self, key: str, /, **values: object) -> str: ...


def english(key: str, /, **values: object) -> str:
    return TEXTS[key].format(**values)


Row = tuple[str, Sequence[str]]


def page(
    outcomes: Mapping[str, Outcome], rows: Sequence[Row], notes: Sequence[str], say: Say = english, lang: str = "en"
) -> str:
    """The whole document. `rows`: figure and its value for each of `outcomes`; `notes` are put below the table."""
    first = next(iter(outcomes.values()))
    title = escape(say("title", trace=first.trace))
    head = "".join(f"<th>{escape(name)}</th>" for name in ("", *outcomes))
    body = "".join(
        f"<tr><td>{escape(name)}</td>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"
        for name, cells in rows
    )
    said = "".join(f"<p>{escape(note)}</p>" for note in notes)
    return (
        f'<!doctype html><html lang="{lang}"><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_PAGE}{STYLE}</style>'
        f"<h1>{title}</h1><table><tr>{head}</tr>{body}</table>{said}{''.join(charts(outcomes, say))}</html>\n"
    )


def charts(outcomes: Mapping[str, Outcome], say: Say = english) -> list[str]:
    """Devices held and jobs waiting over time, and how completion times are spread."""
    time = Axis(say("hours"), tick=lambda value: f"{value:,.0f}")
    busy = [
        Line(name, [(moment.at / _HOUR, moment.busy) for moment in one.moments], steps=True)
        for name, one in outcomes.items()
    ]
    waiting = [
        Line(name, [(moment.at / _HOUR, float(moment.waiting)) for moment in one.moments], steps=True)
        for name, one in outcomes.items()
    ]
    spread = [Line(name, _cumulative(one)) for name, one in outcomes.items()]
    return [
        chart(say("busy"), busy, time, Axis(say("devices"))),
        chart(say("waiting"), waiting, time, Axis(say("jobs"))),
        chart(say("completion"), spread, Axis("", log=True, tick=format_duration), Axis(say("share"))),
    ]


def _cumulative(outcome: Outcome) -> list[tuple[float, float]]:
    times = sorted(job.completion for job in outcome.jobs if job.completion is not None)
    return [(max(1.0, time), (number + 1) / len(times)) for number, time in enumerate(times)]
