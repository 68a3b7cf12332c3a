"""``stoker simulate``: what the scheduler would have done with a trace, under one policy or several."""

from __future__ import annotations

import dataclasses
import json as jsons
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from stoker.cli.inference import HISTORY, Asked, history, with_inference
from stoker.cli.options import spread
from stoker.cli.queue import queues_in
from stoker.cli.render import AsJson, columns, say
from stoker.cli.session import connect
from stoker.cli.texts import t
from stoker.cluster import Node
from stoker.errors import BadInput
from stoker.queue import check_tree
from stoker.schedule.policy import parse
from stoker.simulate import Outcome, Settings, Trace, simulate
from stoker.simulate.measures import Measures, measure
from stoker.simulate.page import page
from stoker.simulate.pool import needed, nodes_of
from stoker.simulate.readers import read_trace, trace_of
from stoker.units import format_duration

_LIVE = "live"
_TOLD_EVERY_S = 1.0

Given = Annotated[str, typer.Option("--policy", metavar="NAME=VALUE,...", help="What differs from the default.")]


@dataclass(frozen=True)
class Scene:
    """What may be said of the jobs and of the nodes they run on."""

    trace: Annotated[str, typer.Argument(metavar="TRACE", help="A file, or: history, the jobs of the platform.")]
    cluster: Annotated[
        str,
        typer.Option(metavar="NODES", help="As 8xH100:8, a YAML or CSV file, or: live. Else as the trace needs."),
    ] = ""
    preemptible: Annotated[bool, typer.Option("--preemptible", help="Let jobs of the trace be preempted.")] = False
    jobs: Annotated[int, typer.Option("--jobs", min=0, help="Only the first so many jobs; 0: all.")] = 0
    devices_per_node: Annotated[
        int, typer.Option(min=1, max=64, help="Jobs of more devices than this take whole nodes.")
    ] = 8

    def open(self, asked: Asked) -> tuple[Trace, tuple[Node, ...]]:
        """The trace, with the inference `asked` for, and the nodes. Raises BadInput."""
        trace = self._trace()
        trace = with_inference(trace.preemptible() if self.preemptible else trace, asked).first(self.jobs)
        return trace, self._nodes(trace)

    def _trace(self) -> Trace:
        if self.trace == HISTORY:
            return trace_of(history())
        return read_trace(Path(self.trace), devices_per_node=self.devices_per_node)

    def _nodes(self, trace: Trace) -> tuple[Node, ...]:
        if self.cluster == _LIVE or (self.trace == HISTORY and not self.cluster):
            nodes = tuple(connect().nodes())
            if not nodes:
                raise BadInput("the platform has no nodes; give --cluster, as 8xH100:8")
            return nodes
        return nodes_of(self.cluster) if self.cluster else needed(trace, devices_per_node=self.devices_per_node)


@spread
def simulation(
    scene: Scene,
    asked: Asked,
    policy: Given = "",
    against: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE,...", help="Another policy to compare with.")
    ] = None,
    queues: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Queues of the jobs, as stoker queue apply takes them.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write a page with plots there.")] = None,
    json: AsJson = False,
) -> None:
    """Run a trace of jobs through the scheduler, without running any."""
    policies = {text or t("default"): parse(text) for text in (policy, *(against or ()))}
    check_writable(out)
    shared = () if queues is None else queues_in(queues)
    check_tree(shared)
    trace, nodes = scene.open(asked)
    outcomes = {
        name: simulate(trace, nodes, Settings(one, shared, progress=progress(name)))
        for name, one in policies.items()
    }
    measures = {name: measure(outcome) for name, outcome in outcomes.items()}
    if out is not None:
        _write(out, outcomes, measures, trace)
    if json:
        print(jsons.dumps(plain(outcomes, measures), ensure_ascii=False, indent=1), flush=True)
        return
    say(head(trace, nodes))
    say(columns(("", *measures), [(name, *cells) for name, cells in rows(measures)], right=tuple(measures)))
    for line in notes(outcomes, trace):
        say(line)
    if out is not None:
        say(t("written: {path}", path=out))


def check_writable(out: Path | None) -> None:
    """Raises BadInput where nothing can be written to `out`: before long work, not after it."""
    if out is None:
        return
    if not out.parent.is_dir():
        raise BadInput(f"--out {out} was given; there is no folder {out.parent}")
    if out.is_dir() or not os.access(out if out.exists() else out.parent, os.W_OK):
        raise BadInput(
            f"--out {out} cannot be written: {'it is a folder' if out.is_dir() else 'permission denied'}"
        )


def progress(name: str) -> Callable[[float], None] | None:
    """Says how far it is, on a terminal alone."""
    if not sys.stderr.isatty():
        return None
    told = time.monotonic()

    def tell(share: float) -> None:
        nonlocal told
        if time.monotonic() - told >= _TOLD_EVERY_S:
            told = time.monotonic()
            print(
                f"\r\033[K{name[:40]}: {share:.0%}",
                end="" if share < 1 else "\r\033[K",
                file=sys.stderr,
                flush=True,
            )

    return tell


def head(trace: Trace, nodes: Sequence[Node]) -> str:
    count = sum(len(node.devices) for node in nodes)
    return t(
        "{trace}: {jobs} jobs over {span} on {nodes} nodes with {devices} devices",
        trace=trace.name,
        jobs=f"{len(trace.jobs):,}",
        span=format_duration(trace.span),
        nodes=len(nodes),
        devices=count,
    )


def rows(measures: Mapping[str, Measures]) -> list[tuple[str, list[str]]]:
    """Figure by figure, with its value under each policy."""
    serving = any(one.unmet is not None for one in measures.values())
    return [
        (name, [of(one) for one in measures.values()])
        for name, of in (*_figures(), *(_lending() if serving else ()))
    ]


def _figures() -> list[tuple[str, Callable[[Measures], str]]]:
    return [
        (t("jobs ended"), lambda one: f"{one.ended:,}"),
        (t("allocation"), lambda one: f"{one.allocation:.1%}"),
        (t("idle while jobs wait"), lambda one: f"{one.waiting_idle:.1%}"),
        (t("free on partly held nodes"), lambda one: f"{one.broken:.1%}"),
        (t("completion time, mean"), lambda one: _time(one.completion.mean)),
        (t("completion time, median"), lambda one: _time(one.completion.median)),
        (t("completion time, 95th percentile"), lambda one: _time(one.completion.p95)),
        (t("queueing, mean"), lambda one: _time(one.queueing.mean)),
        (t("queueing, 95th percentile"), lambda one: _time(one.queueing.p95)),
        (t("slowdown, mean"), lambda one: f"{one.slowdown.mean:,.1f}"),
        (t("makespan"), lambda one: _time(one.makespan)),
        (t("preemptions"), lambda one: f"{one.preemptions:,}"),
        (t("work done twice, device hours"), lambda one: f"{one.lost / 3600:,.1f}"),
        (t("spent in starts, device hours"), lambda one: f"{one.starting / 3600:,.1f}"),
        (t("deadlines missed"), lambda one: f"{one.missed:,} / {one.deadlines:,}" if one.deadlines else "-"),
        (t("fairness over tenants (Jain)"), lambda one: f"{one.fairness:.2f}"),
    ]


def _lending() -> list[tuple[str, Callable[[Measures], str]]]:
    return [
        (t("inference short of replicas, minutes"), lambda one: f"{(one.unmet or 0.0) / 60:,.1f}"),
        (t("replicas that were missing, hours"), lambda one: f"{(one.missing or 0.0) / 3600:,.1f}"),
        (t("lent by inference, device hours"), lambda one: f"{(one.lent or 0.0) / 3600:,.0f}"),
    ]


def _time(seconds: float) -> str:
    return format_duration(seconds) if seconds >= 1 else f"{seconds:.1f}s"


def notes(outcomes: Mapping[str, Outcome], trace: Trace) -> list[str]:
    first = next(iter(outcomes.values()))
    refused = [
        t("{count} could never run there: {why}", count=count, why=why) for why, count in first.refused.items()
    ]
    return [*trace.notes, *refused]


def plain(outcomes: Mapping[str, Outcome], measures: Mapping[str, Measures]) -> Any:
    return [
        {
            "policy": dataclasses.asdict(outcomes[name].policy),
            "devices": outcomes[name].devices,
            "refused": outcomes[name].refused,
            "measures": dataclasses.asdict(one),
        }
        for name, one in measures.items()
    ]


def _write(out: Path, outcomes: Mapping[str, Outcome], measures: Mapping[str, Measures], trace: Trace) -> None:
    def said(key: str, /, **values: object) -> str:
        return _page_text(key).format(**values)

    text = page(outcomes, rows(measures), notes(outcomes, trace), said, t("en"))
    write(out, text)


def write(out: Path, text: str) -> None:
    """Raises BadInput where that cannot be."""
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadInput(f"--out {out} cannot be written: {(error.strerror or str(error)).lower()}") from None


def _page_text(key: str) -> str:
    return {
        "title": t("Simulation of {trace}"),
        "busy": t("devices held"),
        "waiting": t("jobs that wait"),
        "completion": t("share of jobs done within a completion time"),
        "queueing": t("share of jobs that wait no longer than"),
        "broken": t("devices free on partly held nodes"),
        "preemptions": t("preemptions so far"),
        "lost": t("device hours of work done twice so far"),
        "fairness": t("mean slowdown by tenant, the least first"),
        "tenants": t("tenants"),
        "replicas": t("replicas of inference"),
        "needed": t("needed"),
        "short": t("hours so far in which inference was short of replicas"),
        "hours": t("hours"),
        "devices": t("devices"),
        "jobs": t("jobs"),
        "share": t("share"),
    }[key]
