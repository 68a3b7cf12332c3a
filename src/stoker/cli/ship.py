"""``stoker ship``: from data to a served model."""

from __future__ import annotations

import json
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
from stoker.shipment import Shipment, ShipmentRequest, ShipmentState, Stage, StageState
from stoker.spelling import parse_accelerators

_THERE = "server:"  # a path on the server, where that is another machine


def ship(
    data: Annotated[str, typer.Argument(help="Folder or file with data, file-..., or server:/path.")] = "",
    base: Annotated[str, typer.Option(help="Base model: a folder, a .gguf file, or a name in the catalogue.")] = "",
    name: Annotated[str, typer.Option(help="The model's name; else that of the data.")] = "",
    method: Annotated[str, typer.Option(help="lora, full, ptuning, bottleneck or ia3.")] = "lora",
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="STAGE.SETTING=VALUE: train.epochs=3.")
    ] = None,
    heldout: Annotated[str, typer.Option(help="Data to evaluate on; else a part of DATA.")] = "",
    gpus: Annotated[str, typer.Option(help="Devices of the training, on each node: 2, H100:8.")] = "",
    nodes: Annotated[int, typer.Option("--nodes", "-N", help="Nodes of the training.")] = 1,
    engine: Annotated[str, typer.Option(help="Where its jobs run: an engine's name.")] = "",
    deploy: Annotated[bool, typer.Option(help="Serve it.")] = True,
    promote: Annotated[bool, typer.Option(help="Let it answer once it is verified.")] = True,
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
        request = _request(
            client, data, base, name, heldout, method, settings or (), gpus, nodes, engine, deploy, promote
        )
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


def _request(
    client: Client, data: str, base: str, name: str, heldout: str, method: str, settings: Iterable[str], gpus: str,
    nodes: int, engine: str, deploy: bool, promote: bool,
) -> ShipmentRequest:  # fmt: skip
    if not data or not base:
        raise BadInput("ship needs data and a base model; write: stoker ship DATA --base MODEL")
    resources = {}
    if gpus:
        devices = parse_accelerators(gpus)
        wish = Resources(accelerators=devices.count, models=devices.models, milli=devices.milli)
        resources = {Stage.TRAIN.value: wish, Stage.EVALUATE.value: replace(wish, accelerators=1)}
    return ShipmentRequest(
        data=_place(client, data),
        base=_base(client, base),
        name=name or _named_after(data),
        heldout=_place(client, heldout) if heldout else "",
        method=method,
        settings=read_settings(settings),
        resources=resources,
        nodes=nodes,
        engine=engine,
        deploy=deploy,
        promote=promote,
    )


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
        stage, dot, setting = place.partition(".")
        if not (equals and dot and stage and setting):
            raise BadInput(
                f'--set "{item}" is not understood; write STAGE.SETTING=VALUE, for example train.epochs=3'
            )
        settings.setdefault(stage, {})[setting] = _value(value)
    return settings


def _value(text: str) -> Any:
    try:
        value = json.loads(text)
        json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError):
        return text
    return value


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
