"""The options that say how many replicas an endpoint has, for the commands that take them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from stoker.endpoint import EndpointSettings, Scaling
from stoker.endpointfile import bounded, read_endpoint_file
from stoker.errors import BadInput
from stoker.units import parse_duration

File = Annotated[Path | None, typer.Option("--file", "-f", help="YAML file with an endpoint section; options win.")]
Replicas = Annotated[int | None, typer.Option(min=1, help="How many serve it, whatever the load.")]
Least = Annotated[
    int | None, typer.Option("--min", min=0, help="Follow the load; so many stay whatever it is. 0: none stays.")
]
Most = Annotated[int | None, typer.Option("--max", min=1, help="Follow the load, up to so many.")]
Target = Annotated[float | None, typer.Option(help="Requests in flight that one replica answers well: 8.")]
Ttft = Annotated[str, typer.Option(help="Wanted until the first token, for 95 in 100: 2s.")]
Tpot = Annotated[float | None, typer.Option(help="Wanted for each further token, milliseconds.")]
Reserve = Annotated[int | None, typer.Option(min=0, help="Ready replicas kept above what is needed.")]
Window = Annotated[str, typer.Option(help="The load is low for so long before a replica goes: 5m.")]
Idle = Annotated[
    str, typer.Option(help="With --min 0: the last replica goes after so long without a request: 15m.")
]
Hold = Annotated[str, typer.Option(help="With --min 0: a request waits so long for a replica: 2m.")]
Sleep = Annotated[int | None, typer.Option(min=0, help="So many replicas sleep instead of going, where it can be.")]
Queue = Annotated[str, typer.Option(help="Queue of its replicas.")]


def read_settings_file(file: Path) -> EndpointSettings:
    try:
        return read_endpoint_file(file.read_text(), source=str(file))
    except (OSError, UnicodeDecodeError) as error:
        why = (error.strerror or "cannot be read").lower() if isinstance(error, OSError) else "not UTF-8 text"
        raise BadInput(f"{file}: {why}") from None


def changed(
    scaling: Scaling, replicas: int | None, least: int | None, most: int | None, target: float | None, ttft: str,
    tpot: float | None, reserve: int | None, window: str, idle: str, hold: str, sleep: int | None,
) -> Scaling:  # fmt: skip
    """`scaling` with what the options say."""
    given = {
        "target": target,
        "ttft": parse_duration(ttft) if ttft else None,
        "tpot": None if tpot is None else tpot / 1000,
        "reserve": reserve,
        "window": parse_duration(window) if window else None,
        "idle": parse_duration(idle) if idle else None,
        "hold": parse_duration(hold) if hold else None,
        "sleep": sleep,
    }
    other = {name: value for name, value in given.items() if value is not None}
    return replace(bounded(scaling, replicas, least, most), **other)  # type: ignore[arg-type]
