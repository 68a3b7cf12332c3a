"""``stoker ship``: from data to a served model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from stoker.cli.render import AsJson, clean, note, print_json, say
from stoker.cli.session import connect, on_this_machine
from stoker.cli.texts import t
from stoker.cli.watch import watch
from stoker.client import Client
from stoker.errors import BadInput, Broken, NotFound
from stoker.job import Resources
from stoker.shipfile import read_shipfile, setting
from stoker.shipment import Shipment, ShipmentRequest, ShipmentState, Stage, StageState
from stoker.spelling import parse_accelerators

_YAML = (".yaml", ".yml")
_THERE = "server:"  # a path on the server, where that is another machine


def ship(
    data: Annotated[
        str, typer.Argument(help="Folder or file with data, file-..., server:/path, or a ship file (.yaml).")
    ] = "",
    base: Annotated[str, typer.Option(help="Base model: a folder, a .gguf file, or a name in the catalogue.")] = "",
    name: Annotated[str, typer.Option(help="The model's name; else that of the data.")] = "",
    method: Annotated[str, typer.Option(help="lora, full, ptuning, bottleneck or ia3; else lora.")] = "",
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="STAGE.SETTING=VALUE: train.epochs=3.")
    ] = None,
    heldout: Annotated[str, typer.Option(help="Data to evaluate on; else a part of DATA.")] = "",
    gpus: Annotated[str, typer.Option(help="Devices of the training, on each node: 2, H100:8.")] = "",
    nodes: Annotated[int | None, typer.Option("--nodes", "-N", help="Nodes of the training.")] = None,
    min_nodes: Annotated[
        int | None, typer.Option(help="The training does with so many nodes when there are no more.")
    ] = None,
    preemptible: Annotated[
        bool | None, typer.Option(help="The training may be ended for what is more important, and goes on later.")
    ] = None,
    engine: Annotated[str, typer.Option(help="Where its jobs run: an engine's name.")] = "",
    deploy: Annotated[bool | None, typer.Option(help="Serve it.")] = None,
    promote: Annotated[bool | None, typer.Option(help="Let it answer once it is verified.")] = None,
    resume: Annotated[str, typer.Option(help="Go on with a shipment that stopped: ship-...")] = "",
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Do not watch it.")] = False,
    as_json: AsJson = False,
) -> int:
    """From data to a served model.

    Imports, curates, trains, evaluates, registers, deploys and verifies; what was done before is not done again,
    so the same call goes on where an earlier one stopped. Ctrl-C stops watching, the shipment goes on.
    """
    client = connect()
    if resume:
        shipment = client.shipments.resume(resume)
    else:
        options = {
            "base": base, "name": name, "heldout": heldout, "method": method, "nodes": nodes,
            "min_nodes": min_nodes, "preemptible": preemptible, "engine": engine, "deploy": deploy,
            "promote": promote,
        }  # fmt: skip
        request = _request(client, _asked(data, options, settings or (), gpus))
        shipment = client.shipments.create(request)
    if as_json and detach:
        print_json(shipment)
    elif detach:
        say(shipment.id)
    if detach:
        return 0
    ended = _watched(client, shipment)
    if as_json:
        print_json(ended)
    return _told(ended)


def _asked(data: str, options: Mapping[str, Any], settings: Iterable[str], gpus: str) -> dict[str, Any]:
    """Fields of the request: what the ship file says, if `data` is one, under what the options say."""
    asked: dict[str, Any] = _of_file(Path(data)) if data.endswith(_YAML) else {"data": data}
    asked |= {name: value for name, value in options.items() if value not in (None, "")}
    given = read_settings(settings)
    of_file = asked.get("settings", {})
    asked["settings"] = {
        stage: {**of_file.get(stage, {}), **given.get(stage, {})} for stage in sorted({*of_file, *given})
    }
    if gpus:
        devices = parse_accelerators(gpus)
        wish = asked.get("resources", Resources())
        asked["resources"] = replace(wish, accelerators=devices.count, models=devices.models, milli=devices.milli)
    return asked


def _of_file(file: Path) -> dict[str, Any]:
    """What a ship file says; folders and files in it count from where it lies."""
    try:
        asked = read_shipfile(file.read_text(), source=str(file))
    except (OSError, UnicodeDecodeError) as error:
        why = (error.strerror or "cannot be read").lower() if isinstance(error, OSError) else "not UTF-8 text"
        raise BadInput(f"{file}: {why}") from None
    for name in ("data", "base", "heldout"):
        there = file.parent / Path(asked.get(name, "")).expanduser()
        if asked.get(name) and there.exists():
            asked[name] = str(there)
    return asked


def _request(client: Client, asked: dict[str, Any]) -> ShipmentRequest:
    data, base = asked.get("data", ""), asked.get("base", "")
    if not data or not base:
        raise BadInput("ship needs data and a base model; write: stoker ship DATA --base MODEL")
    wish = asked.get("resources")
    resources = {}
    if wish:
        alone = replace(wish, accelerators=min(1, wish.accelerators))
        resources = {Stage.TRAIN.value: wish, Stage.EVALUATE.value: alone}
    places = {
        "data": _place(client, data),
        "base": _base(client, base),
        "name": asked.get("name") or _named_after(data),
        "heldout": _place(client, asked["heldout"]) if asked.get("heldout") else "",
    }
    return ShipmentRequest(**{**asked, **places, "resources": resources})


def _place(client: Client, data: str) -> str:
    """What the server knows `data` by: an absolute path, or the id of a file that is uploaded now."""
    if data.startswith(_THERE):
        return data.removeprefix(_THERE)
    if data.startswith("file-") and "/" not in data:
        return data
    path = Path(data).expanduser()
    if not path.exists():
        raise NotFound(f"no data at {data}; give a folder or file with .jsonl, .csv, .parquet, .txt, .md or .html")
    if on_this_machine(client):
        return str(path.resolve())
    if path.is_dir():
        raise BadInput(
            f"{data} is a folder here, and the server is {client.login.url}: give one file, which is uploaded, "
            f"or a folder there: {_THERE}/path"
        )
    note(t("uploading {path}", path=str(path)))
    return client.files.upload(path).id


def _base(client: Client, base: str) -> str:
    """An absolute path where the server can see ours, else what was given: a name, or a path over there."""
    path = Path(base).expanduser()
    return str(path.resolve()) if on_this_machine(client) and path.exists() else base.removeprefix(_THERE)


def _named_after(data: str) -> str:
    stem = Path(data.removeprefix(_THERE)).stem or Path(data).resolve().name
    kept = "".join(char if char.isalnum() or char in "-_." else "-" for char in stem).strip("-.")
    if not kept:
        raise BadInput(f'no name can be made of "{data}"; give one with --name')
    return kept[:100]


def read_settings(given: Iterable[str]) -> Mapping[str, Mapping[str, Any]]:
    """``train.epochs=3`` as ``{"train": {"epochs": 3}}``; values are JSON where they can be, else text."""
    settings: dict[str, dict[str, Any]] = {}
    for item in given:
        place, equals, value = item.partition("=")
        stage, dot, name = place.partition(".")
        if not (equals and dot and stage and name):
            raise BadInput(
                f'--set "{item}" is not understood; write STAGE.SETTING=VALUE, for example train.epochs=3'
            )
        settings.setdefault(stage, {})[name] = setting(value)
    return settings


def _watched(client: Client, shipment: Shipment) -> Shipment:
    try:
        return watch(client, shipment.id)
    except KeyboardInterrupt:
        note(
            t(
                "{id} goes on; watch it again: the same command, stop it: stoker cancel {id}",
                id=shipment.id,
            )
        )
        raise


def _told(shipment: Shipment) -> int:
    """The last words: how to use it, or what to do."""
    name = shipment.request.name
    if shipment.state is ShipmentState.SUCCEEDED:
        if shipment.request.deploy and shipment.request.promote:
            say(
                t(
                    'now serving as "{name}"   try it: stoker chat {name}   back: stoker models rollback {name}',
                    name=name,
                )
            )
        elif shipment.version is not None:
            say(t("registered: {name} version {version}   serve it: stoker models promote {name} {version}",
                  name=name, version=shipment.version))  # fmt: skip
        return 0
    if shipment.state is ShipmentState.CANCELLED:
        note(t("{id} was cancelled; go on with it: stoker ship --resume {id}", id=shipment.id))
        return 130
    failed = next((run for run in shipment.stages if run.state is StageState.FAILED), None)
    at_fault = BadInput if failed is not None and failed.exit_code == 2 else Broken
    raise at_fault(f"{clean(shipment.message)}; what to do: stoker why {shipment.id}")
