"""``stoker tune-policy``: settings of the scheduling policy that would have served a trace better."""

from __future__ import annotations

import dataclasses
import json as jsons
from pathlib import Path
from typing import Annotated, Any

import typer

from stoker.cli.inference import Asked
from stoker.cli.options import spread
from stoker.cli.policy import as_yaml
from stoker.cli.render import AsJson, columns, say
from stoker.cli.simulate import Given, Scene, check_writable, head, progress, write
from stoker.cli.texts import t
from stoker.errors import BadInput
from stoker.schedule.policy import parse
from stoker.simulate.tune import LEAST_GAIN, OBJECTIVES, Tuned, tune
from stoker.units import format_duration


@spread
def tune_policy(
    scene: Scene,
    asked: Asked,
    policy: Given = "",
    objective: Annotated[str, typer.Option(help="completion, queueing, slowdown (means) or tail.")] = "completion",
    trials: Annotated[int, typer.Option(min=1, max=10_000, help="Policies that are tried.")] = 30,
    held_out: Annotated[
        float, typer.Option(min=0.1, max=0.9, help="Share of the jobs, the last ones, that judge.")
    ] = 0.4,
    seed: Annotated[int, typer.Option(help="The same seed gives the same answer.")] = 0,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write the advised policy there, as YAML.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Search settings of the scheduling policy on a trace, judged on jobs that the search has not seen."""
    if objective not in OBJECTIVES:
        raise BadInput(f'--objective "{objective}" was given; allowed are {", ".join(OBJECTIVES)}')
    check_writable(out)
    base = parse(policy)
    trace, nodes = scene.open(asked)
    found = tune(
        trace,
        nodes,
        base,
        objective=objective,
        trials=trials,
        held_out=held_out,
        seed=seed,
        progress=progress("tune-policy"),
    )
    if out is not None:
        write(out, as_yaml(found.advised))
    if json:
        print(jsons.dumps(_plain(found, objective), ensure_ascii=False, indent=1), flush=True)
        return
    say(head(trace, nodes))
    say(_report(found, objective))
    if out is not None:
        say(t("written: {path}", path=out))


def _report(found: Tuned, objective: str) -> str:
    def value(number: float) -> str:
        return f"{number:,.2f}" if objective == "slowdown" else format_duration(number)

    rows = [
        (t("jobs that were searched on"), *(value(one) for one in found.seen)),
        (t("jobs that were not seen"), *(value(one) for one in found.unseen)),
    ]
    if found.unmet is not None:
        minutes = (f"{seconds / 60:,.1f}" for seconds in found.unmet)
        rows.append((t("inference short of replicas, minutes, on those"), *minutes))
    header = ("", t("as it is"), t("best of {trials}", trials=found.trials))
    changes = ", ".join(f"{name}={_word(one)}" for name, one in found.changed().items())
    return f"{columns(header, rows, right=header[1:])}\n{_advice(found, changes)}"


def _advice(found: Tuned, changes: str) -> str:
    if not changes:
        return t("nothing that was tried is better: keep the policy as it is")
    if found.gain < LEAST_GAIN:
        return t(
            "{changes} was best in the search, and gains {gain} on unseen jobs: keep the policy as it is",
            changes=changes,
            gain=f"{found.gain:+.1%}",
        )
    return t("{changes} gains {gain} on unseen jobs", changes=changes, gain=f"{found.gain:.1%}")


def _word(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _plain(found: Tuned, objective: str) -> Any:
    return {
        "objective": objective,
        "trials": found.trials,
        "changed": found.changed(),
        "seen": found.seen,
        "unseen": found.unseen,
        "gain": found.gain,
        "unmet": found.unmet,
        "advised": dataclasses.asdict(found.advised),
    }
