"""The options that say how many replicas an endpoint has, for the commands that take them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from stoker.endpoint import EndpointSettings, Scaling
from stoker.endpointfile import bounded, read_endpoint_file
from stoker.errors import BadInput
from stoker.units import parse_duration


@dataclass(frozen=True)
class Bounds:
    """What may be said of how an endpoint is served."""

    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="YAML file with an endpoint section; options win.")
    ] = None
    replicas: Annotated[int | None, typer.Option(min=1, help="How many serve it, whatever the load.")] = None
    least: Annotated[
        int | None,
        typer.Option("--min", min=0, help="Follow the load; so many stay whatever it is. 0: none stays."),
    ] = None
    most: Annotated[int | None, typer.Option("--max", min=1, help="Follow the load, up to so many.")] = None
    target: Annotated[float | None, typer.Option(help="Requests in flight that one replica answers well: 8.")] = (
        None
    )
    ttft: Annotated[str, typer.Option(help="Wanted until the first token, for 95 in 100: 2s.")] = ""
    tpot: Annotated[float | None, typer.Option(help="Wanted for each further token, milliseconds.")] = None
    reserve: Annotated[int | None, typer.Option(min=0, help="Ready replicas kept above what is needed.")] = None
    window: Annotated[str, typer.Option(help="The load is low for so long before a replica goes: 5m.")] = ""
    idle: Annotated[
        str, typer.Option(help="With --min 0: the last replica goes after so long without a request: 15m.")
    ] = ""
    hold: Annotated[str, typer.Option(help="With --min 0: a request waits so long for a replica: 2m.")] = ""
    sleep: Annotated[
        int | None, typer.Option(min=0, help="So many replicas sleep instead of going, where it can be.")
    ] = None
    queue: Annotated[str, typer.Option(help="Queue of its replicas.")] = ""

    def settings(self, before: Callable[[], Scaling]) -> EndpointSettings:
        """Those of the file, or else `before`, with what the options say. Raises BadInput."""
        settings = read_settings_file(self.file) if self.file else EndpointSettings(before())
        return EndpointSettings(self._changed(settings.scaling), self.queue or settings.queue)

    def _changed(self, scaling: Scaling) -> Scaling:
        given = {
            "target": self.target,
            "ttft": parse_duration(self.ttft) if self.ttft else None,
            "tpot": None if self.tpot is None else self.tpot / 1000,
            "reserve": self.reserve,
            "window": parse_duration(self.window) if self.window else None,
            "idle": parse_duration(self.idle) if self.idle else None,
            "hold": parse_duration(self.hold) if self.hold else None,
            "sleep": self.sleep,
        }
        other = {name: value for name, value in given.items() if value is not None}
        return replace(bounded(scaling, self.replicas, self.least, self.most), **other)  # type: ignore[arg-type]


def read_settings_file(file: Path) -> EndpointSettings:
    try:
        return read_endpoint_file(file.read_text(), source=str(file))
    except (OSError, UnicodeDecodeError) as error:
        why = (error.strerror or "cannot be read").lower() if isinstance(error, OSError) else "not UTF-8 text"
        raise BadInput(f"{file}: {why}") from None
