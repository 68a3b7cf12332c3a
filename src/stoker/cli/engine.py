"""``stoker engine``: where jobs run besides this machine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from stoker.cli.render import AsJson, columns, facts, moment, print_json, say
from stoker.cli.session import connect
from stoker.cli.texts import t
from stoker.engine_config import EngineConfig, EngineStatus
from stoker.errors import BadInput
from stoker.spelling import parse_assignments
from stoker.typed import read
from stoker.units import format_duration

app = typer.Typer(
    help="Add, list and remove engines: Slurm and Kubernetes clusters.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

Name = Annotated[str, typer.Argument(metavar="ENGINE", help="Its name.")]
_REST = {"allow_extra_args": True, "ignore_unknown_options": True}


@app.command(context_settings=_REST, options_metavar="[OPTIONS] [--SETTING VALUE]...")
def add(
    ctx: typer.Context,
    kind: Annotated[str, typer.Argument(help="slurm or kubernetes; left out with --file.")] = "",
    name: Annotated[str, typer.Argument(help="How you call it.")] = "",
    site: Annotated[str, typer.Option(help="Where it stands: on-prem, cloud, edge.")] = "",
    taint: Annotated[list[str] | None, typer.Option(help="Only jobs that tolerate it come here.")] = None,
    python: Annotated[str, typer.Option(help="Interpreter on its nodes that has stoker; else python3.")] = "",
    path: Annotated[
        list[str] | None, typer.Option(help="/here=/there: where its nodes see a folder of this machine.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="Read name, kind and settings from YAML.")
    ] = None,
    check: Annotated[bool, typer.Option(help="It must answer once before it is added.")] = True,
    json: AsJson = False,
) -> None:
    """Add an engine.

    Settings are those of its kind, see docs/slurm.md and docs/kubernetes.md: --partition gpu --account ml. Keys are
    given as paths on the platform's machine, never as text.
    """
    given: dict[str, Any] = _load(file) if file else {}
    given |= {
        key: value for key, value in (("kind", kind), ("name", name), ("site", site), ("python", python)) if value
    }
    if taint:
        given["taints"] = taint
    if path:
        given["paths"] = parse_assignments(path, environ={}, what="--path")
    given["settings"] = {**(given.get("settings") or {}), **_settings(ctx.args)}
    status = connect().engines.add(read(EngineConfig, given, what=str(file or "engine")), check=check)
    if json:
        print_json(status)
    else:
        say(t("engine {name} added: nodes {nodes}, devices {devices}", **_sizes(status)))


@app.command("list")
def list_(json: AsJson = False) -> None:
    """List engines and how each is."""
    found = connect().engines.list()
    if json:
        print_json(found)
    else:
        say(table(found, time.time()))


@app.command()
def show(name: Name, json: AsJson = False) -> None:
    """Show one engine."""
    found = connect().engines.get(name)
    if json:
        print_json(found)
        return
    say(
        facts(
            [
                (t("where jobs run"), f"{found.name} ({found.kind})"),
                (t("site"), found.site),
                (t("taints"), ", ".join(found.taints)),
                (t("state"), _state(found)),
                (t("last answer"), moment(found.answered_at)),
                (t("nodes"), str(found.nodes)),
                (t("devices"), str(found.devices)),
                (t("jobs"), str(found.jobs)),
                (t("jobs of others"), str(found.foreign)),
                (t("times asked"), str(found.calls)),
            ]
        )
    )


@app.command()
def remove(name: Name) -> None:
    """Remove an engine. What others run there is not touched."""
    connect().engines.remove(name)
    say(t("engine {name} removed", name=name))


HEADER = ("ENGINE", "KIND", "SITE", "STATE", "ANSWERED", "NODES", "DEVICES", "JOBS", "OTHERS", "TAINTS")


def table(found: Sequence[EngineStatus], now: float) -> str:
    rows = [
        (
            one.name,
            one.kind,
            one.site or "-",
            _state(one),
            f"{format_duration(max(0.0, now - one.answered_at))}" if one.answered_at else "-",
            str(one.nodes),
            str(one.devices),
            str(one.jobs),
            str(one.foreign),
            ", ".join(one.taints) or "-",
        )
        for one in found
    ]
    return columns(HEADER, rows, right=("NODES", "DEVICES", "JOBS", "OTHERS"))


def _state(status: EngineStatus) -> str:
    return t("away: {why}", why=status.away) if status.away else t("answers")


def _sizes(status: EngineStatus) -> dict[str, object]:
    return {"name": status.name, "nodes": status.nodes, "devices": status.devices}


def _load(file: Path) -> dict[str, Any]:
    try:
        given = yaml.safe_load(file.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadInput(f"{file} cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(given, dict):
        raise BadInput(f"{file} is no mapping; write name:, kind: and settings:")
    return given


def _settings(words: Sequence[str]) -> dict[str, str]:
    """``--partition gpu --exclusive=true`` as settings; given twice is an error."""
    settings: dict[str, str] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--") or len(word) < 3:
            raise BadInput(f'"{word}" was given; settings are written --NAME VALUE')
        name, equals, value = word[2:].partition("=")
        name = name.replace("-", "_")
        if not equals:
            if not rest:
                raise BadInput(f"--{name} has no value; write --{name} VALUE")
            value = rest.pop(0)
        if name in settings:
            raise BadInput(f"--{name} was given twice")
        settings[name] = value
    return settings
