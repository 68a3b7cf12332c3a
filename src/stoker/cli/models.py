"""``stoker models``: what is registered, and who answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from stoker.cli.render import AsJson, columns, facts, moment, print_json, say
from stoker.cli.session import connect
from stoker.cli.texts import t
from stoker.errors import BadInput, NotFound
from stoker.model import ModelVersion, Promotion

app = typer.Typer(
    help="List, compare, promote and roll back models.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

Name = Annotated[str, typer.Argument(metavar="MODEL", help="A registered model.")]


@app.command("list")
def list_(json: AsJson = False) -> None:
    """List registered models."""
    found = connect().models.list()
    if json:
        print_json(found)
        return
    rows = [
        (
            m.name,
            m.tenant,
            str(m.versions),
            str(m.champion or "-"),
            str(m.latest.version),
            moment(m.latest.created_at),
        )
        for m in found
    ]
    say(columns(("MODEL", "TENANT", "VERSIONS", "CHAMPION", "LATEST", "CREATED"), rows, right=("VERSIONS",)))


@app.command()
def show(
    name: Name,
    version: Annotated[int | None, typer.Argument(help="One version; else all, in a table.")] = None,
    json: AsJson = False,
) -> None:
    """Show a model's versions, or all about one."""
    versions = connect().models.versions(name)
    if version is not None:
        chosen = _version(versions, name, version)
        if json:
            print_json(chosen)
        else:
            say(_describe(chosen))
    elif json:
        print_json(versions)
    else:
        rows = [
            (str(v.version), ",".join(v.aliases), str(v.parent or "-"), v.engine, v.base, moment(v.created_at))
            for v in versions
        ]
        say(columns(("VERSION", "ALIASES", "PARENT", "ENGINE", "BASE", "CREATED"), rows, right=("VERSION",)))


def _version(versions: Sequence[ModelVersion], name: str, wanted: int) -> ModelVersion:
    found = next((v for v in versions if v.version == wanted), None)
    if found is None:
        known = ", ".join(str(v.version) for v in versions)
        raise NotFound(f"model {name} has no version {wanted}; there are: {known}")
    return found


def _describe(one: ModelVersion) -> str:
    about = facts(
        [
            (t("model"), f"{one.model} {one.version}"),
            (t("aliases"), ", ".join(one.aliases)),
            (t("base"), one.base),
            (t("parent"), str(one.parent or "")),
            (t("engine"), one.engine),
            (t("dataset"), one.dataset),
            (t("artifact"), one.artifact),
            (t("shipment"), one.ship),
            (t("created"), moment(one.created_at)),
        ]
    )
    settings = [(f"  {name}", value) for name, value in sorted(one.config.items())]
    metrics = [
        (f"  {name}", _number(value)) for name, value in sorted(one.metrics.items()) if ".config." not in name
    ]
    return "\n".join([about, t("settings"), facts(settings), t("metrics"), facts(metrics)])


@app.command()
def compare(
    name: Name,
    versions: Annotated[list[int], typer.Argument(metavar="VERSION VERSION...", help="Two versions or more.")],
    json: AsJson = False,
) -> None:
    """Hold versions side by side: metrics, and settings that differ."""
    if len(versions) < 2:
        raise BadInput(f"compare holds two versions or more side by side; {len(versions)} was given")
    found = connect().models.compare(name, *versions)
    if json:
        print_json(found)
        return
    header = ("", *(f"{name} {version}" for version in found.versions))
    rows = [
        *((key, *(_number(value) for value in values)) for key, values in sorted(found.metrics.items())),
        *((key, *(value or "-" for value in values)) for key, values in sorted(found.config.items())),
    ]
    say(columns(header, rows, right=header[1:]))


@app.command()
def promote(
    name: Name,
    version: Annotated[int, typer.Argument(help="The version that should answer.")],
    alias: Annotated[str, typer.Option(help="Another alias than champion, which is what answers.")] = "champion",
    json: AsJson = False,
) -> None:
    """Make a version the champion: the one that answers."""
    _tell(connect().models.promote(name, version, alias=alias), json)


@app.command()
def rollback(name: Name, json: AsJson = False) -> None:
    """Go back to the champion before the present one."""
    _tell(connect().models.rollback(name), json)


@app.command()
def journal(name: Name, json: AsJson = False) -> None:
    """Show who promoted what and when."""
    found = connect().models.journal(name)
    if json:
        print_json(found)
        return
    rows = [(moment(p.at), p.who, p.action, p.alias, str(p.version), str(p.previous or "-")) for p in found]
    say(columns(("WHEN", "WHO", "ACTION", "ALIAS", "VERSION", "BEFORE"), rows, right=("VERSION", "BEFORE")))


def _tell(promotion: Promotion, json: bool) -> None:
    if json:
        print_json(promotion)
        return
    before = t(", before: version {version}", version=promotion.previous) if promotion.previous else ""
    say(
        t(
            "{model} version {version} is {alias} now",
            model=promotion.model,
            version=promotion.version,
            alias=promotion.alias,
        )
        + before
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
