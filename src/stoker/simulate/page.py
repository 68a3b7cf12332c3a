"""A page for people: figures of one or several simulations, and how things went over time. One file, no script."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Protocol

from stoker.simulate.measures import slowdowns
from stoker.simulate.outcome import JobOutcome, Moment, Outcome
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
    "queueing": "share of jobs that wait no longer than",
    "broken": "devices free on partly held nodes",
    "preemptions": "preemptions so far",
    "lost": "device hours of work done twice so far",
    "fairness": "mean slowdown by tenant, the least first",
    "tenants": "tenants",
    "replicas": "replicas of inference",
    "needed": "needed",
    "short": "hours so far in which inference was short of replicas",
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
    """How things went over time, and how completion, queueing and slowdown are spread. Without inference its charts
    are not there."""
    time = Axis(say("hours"), tick=lambda value: f"{value:,.0f}")
    spread = Axis("", log=True, tick=format_duration)

    def over_time(key: str, unit: str, of: Callable[[Moment], float]) -> str:
        lines = [
            Line(name, [(moment.at / _HOUR, of(moment)) for moment in one.moments], steps=True)
            for name, one in outcomes.items()
        ]
        return chart(say(key), lines, time, Axis(unit))

    def cumulative(key: str, of: Callable[[JobOutcome], float | None]) -> str:
        return chart(
            say(key),
            [Line(name, _cumulative(one, of)) for name, one in outcomes.items()],
            spread,
            Axis(say("share")),
        )

    return [
        over_time("busy", say("devices"), lambda moment: moment.busy),
        over_time("broken", say("devices"), lambda moment: moment.broken),
        over_time("waiting", say("jobs"), lambda moment: float(moment.waiting)),
        cumulative("queueing", lambda job: job.queueing),
        cumulative("completion", lambda job: job.completion),
        over_time("preemptions", "", lambda moment: float(moment.preemptions)),
        over_time("lost", say("hours"), lambda moment: moment.lost / _HOUR),
        _fairness(outcomes, say),
        *_inference(outcomes, say, time),
    ]


def _fairness(outcomes: Mapping[str, Outcome], say: Say) -> str:
    lines = [
        Line(name, [(float(at), slowdown) for at, (_, slowdown) in enumerate(slowdowns(one), start=1)])
        for name, one in outcomes.items()
    ]
    return chart(say("fairness"), lines, Axis(say("tenants")), Axis("", log=True))


def _inference(outcomes: Mapping[str, Outcome], say: Say, time: Axis) -> list[str]:
    served = {name: one.served for name, one in outcomes.items() if one.served is not None}
    if not served:
        return []
    needed = next(iter(served.values())).needed
    replicas = [
        Line(name, [(at / _HOUR, float(number)) for at, number in points], steps=True)
        for name, points in ((say("needed"), needed), *((name, one.there) for name, one in served.items()))
    ]
    short = [Line(name, [(at / _HOUR, hours) for at, hours in one.short()]) for name, one in served.items()]
    return [
        chart(say("replicas"), replicas, time, Axis("")),
        chart(say("short"), short, time, Axis(say("hours"))),
    ]


def _cumulative(outcome: Outcome, of: Callable[[JobOutcome], float | None]) -> list[tuple[float, float]]:
    values = (of(job) for job in outcome.jobs if not job.serving)
    times = sorted(value for value in values if value is not None)
    return [(max(1.0, time), (number + 1) / len(times)) for number, time in enumerate(times)]
