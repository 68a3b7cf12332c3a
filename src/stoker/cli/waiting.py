"""Why a job waits, on one screen: the cause, when it starts, what would start it now, who is in its way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from stoker.cli.render import clean, columns, width
from stoker.cli.texts import language, t
from stoker.explanation import FOR_ROOM, Accuracy, Explanation, Forecast, Holder, NodeRefusal, Standing, Victim
from stoker.explanation_words import (
    cause_in,
    change_in,
    ending_in,
    loss_in,
    option_of,
    refusal_in,
    remedy_in,
    shielded_in,
)
from stoker.units import duration_in, format_bytes

_MARGIN = 10  # cells of the words on the left
_DAY_S = 86400.0


def waiting(found: Explanation, *, nodes: bool = False) -> str:
    """The answer; with `nodes` a table of them below."""
    head = t(
        'job {label} "{name}" waits since {span}',
        label=found.job,
        name=found.name,
        span=_span(found.at - found.since),
    )
    parts: list[tuple[str, Iterable[str]]] = [
        (t("Cause"), [cause_in(language(), found.because)]),
        (t("Remedy"), [remedy_in(language(), found.because)]),
        (t("Starts"), _starts(found)),
        (t("Or now"), _changes(found)),
        (t("Sooner"), (f"{option_of(one)}  {change_in(language(), one)}" for one in found.sooner)),
        (t("Preempts"), _ending(found)),
        (t("Held by"), _holders(found)),
        (t("Ahead"), _ahead(found.line)),
        (t("Nodes"), _nodes(found, asked=nodes)),
    ]
    lines = [clean(head)]
    for word, texts in parts:
        for n, text in enumerate(texts):
            lead = word if n == 0 else ""
            lines.append(f"  {lead}{' ' * max(1, _MARGIN - width(lead))}{clean(text)}")
    return "\n".join(lines) + (f"\n\n{node_table(found.nodes)}" if nodes and found.nodes else "")


def node_table(nodes: Iterable[NodeRefusal]) -> str:
    """What each node lacks."""
    rows = [
        (
            one.node,
            one.engine,
            refusal_in(language(), one.refusal),
            f"{one.free}/{one.devices}" if one.devices else "-",
            str(one.cpus),
            format_bytes(one.memory),
            one.why,
        )
        for one in nodes
    ]
    header = (t("NODE"), t("ENGINE"), t("LACKS"), t("FREE"), t("CPUS"), t("MEMORY"), t("WHY"))
    return columns(header, rows, right=(t("FREE"), t("CPUS"), t("MEMORY")))


def _starts(found: Explanation) -> Iterator[str]:
    forecast = found.forecast
    if forecast.at is None:
        yield (
            t("not known: it hangs on a job without a time limit")
            if forecast.why == "endless"
            else t("not known: waiting alone does not help")
        )
        yield from _deadline(found)
        return
    yield _likely(forecast, found.at)
    if found.waiting_helps and forecast.latest is not None:
        yield t(
            "tried: at {at} it starts by itself, unless others come first", at=_clock(forecast.latest, found.at)
        )
    yield _error(forecast.accuracy)
    yield from _deadline(found)


def _deadline(found: Explanation) -> Iterator[str]:
    if found.must_begin is None:
        return
    at = _clock(found.must_begin, found.at)
    if found.must_begin < found.at:
        yield t("it can no longer keep its deadline: it had to begin by {at}", at=at)
    elif found.forecast.at is None or found.forecast.at > found.must_begin:
        yield t("it is likely to miss its deadline: it has to begin by {at}", at=at)
    else:
        yield t("it is likely to keep its deadline: it has to begin by {at}", at=at)


def _likely(forecast: Forecast, now: float) -> str:
    at = forecast.at or now
    told = t("about {at} (in {span})", at=_clock(at, now), span=_span(at - now))
    if forecast.low is not None and forecast.high is not None:
        told += t(
            ", eight of ten between {low} and {high}",
            low=_clock(forecast.low, now),
            high=_clock(forecast.high, now),
        )
    if forecast.latest is not None and forecast.latest - now > 1:
        told += t("; at {at} if what runs uses its whole limit", at=_clock(forecast.latest, now))
    return told


def _error(accuracy: Accuracy) -> str:
    if accuracy.low is None or accuracy.middle is None or accuracy.high is None:
        return t("how good such forecasts are is not measured yet: {count} compared so far", count=accuracy.count)
    return t(
        "measured on {count} forecasts: jobs waited {middle} of what was predicted ({low} to {high})",
        count=accuracy.count,
        low=f"{accuracy.low:.0%}",
        middle=f"{accuracy.middle:.0%}",
        high=f"{accuracy.high:.0%}",
    )


def _changes(found: Explanation) -> Iterator[str]:
    if not found.at_once and found.because.cause in FOR_ROOM:
        yield t("no single change that was tried starts it now")
    told = [(option_of(change), change_in(language(), change), ", ".join(change.where)) for change in found.at_once]
    margin = max((width(option) for option, _, _ in told), default=0)
    for option, text, where in told:
        place = t(" (on {where})", where=where) if where else ""
        yield f"{option}{' ' * (margin - width(option) + 2 * bool(margin))}{text}{place}"


def _ending(found: Explanation) -> Iterator[str]:
    ending = found.ending
    if ending is None:
        return
    yield ending_in(language(), ending)
    for one in ending.victims:
        yield t("{victim}: {loss}", victim=_victim(one), loss=loss_in(language(), one))
    for kept in ending.shielded:
        yield shielded_in(language(), kept)


def _victim(one: Victim) -> str:
    what = _holds(one.devices, one.cpus)
    if one.hidden:
        return t("a job of somebody else, {what}", what=what)
    return t('{job} "{name}" of {owner}, {what}', job=one.job, name=one.name, owner=one.owner, what=what)


def _holders(found: Explanation) -> Iterator[str]:
    seen = [one for one in found.holders if not one.hidden]
    for one in seen:
        yield _holder(one, found.at)
    for one in (one for one in found.holders if one.hidden):
        yield t(
            "a job of somebody else: {what}, {until}",
            what=_holds(one.devices, one.cpus),
            until=_until(one, found.at),
        )
    if found.more_holders:
        yield t("and {count} more", count=found.more_holders)


def _holder(one: Holder, now: float) -> str:
    where = f" ({one.engine})" if one.engine else ""
    return t(
        '{job} "{name}" of {owner}{where}: {what}, {until}',
        job=one.job, name=one.name, owner=one.owner, where=where,
        what=_holds(one.devices, one.cpus), until=_until(one, now),
    )  # fmt: skip


def _holds(devices: int, cpus: int) -> str:
    if devices:
        return t("1 device") if devices == 1 else t("{count} devices", count=devices)
    return t("{count} CPUs", count=cpus)


def _until(one: Holder, now: float) -> str:
    return t("no time limit") if one.until is None else t("until {at} at the latest", at=_clock(one.until, now))


def _ahead(line: Standing) -> Iterator[str]:
    if not line.ahead:
        yield t("nobody: it is first in line")
        return
    yield t("in line before it: {ahead}; that want the same nodes: {rivals}", ahead=line.ahead, rivals=line.rivals)
    for one in line.first:
        if not one.hidden:
            devices = _holds(one.devices, 0) if one.devices else t("no device")
            yield t(
                '{job} "{name}" of {owner}: priority {priority}, {what}',
                job=one.job, name=one.name, owner=one.owner, priority=one.priority, what=devices,
            )  # fmt: skip


def _nodes(found: Explanation, *, asked: bool) -> Iterator[str]:
    if found.refusals:
        counts = sorted(found.refusals.items(), key=lambda item: -item[1])
        told = ", ".join(f"{refusal_in(language(), refusal)}: {count}" for refusal, count in counts)
        yield told + ("" if asked else f"   (stoker why {found.job} --nodes)")


def _span(seconds: float) -> str:
    return duration_in(language(), seconds)


def _clock(at: float, now: float) -> str:
    """``14:20``; with the day when it is further away."""
    form = "%H:%M" if abs(at - now) < _DAY_S / 2 else "%m-%d %H:%M"
    return datetime.fromtimestamp(at).astimezone().strftime(form)
