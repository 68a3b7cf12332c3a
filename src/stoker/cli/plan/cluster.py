"""The cluster a plan is for: a file, or a card and a count on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from stoker.cli.render import note
from stoker.errors import BadInput
from stoker.perf.hardware import Hardware
from stoker.sources.hardware_file import hardware, hardware_file

Word = TypeVar("Word", bound=str)
ClusterFile = Annotated[Path | None, typer.Option("--cluster", metavar="FILE", help="A cluster described in YAML.")]
Gpu = Annotated[str, typer.Option("--gpu", metavar="NAME", help="A card of the catalogue, instead of --cluster.")]
Count = Annotated[int, typer.Option("--count", help="How many cards, in servers of eight.")]
Nic = Annotated[
    str, typer.Option("--nic", metavar="SPEED", help="With --gpu: a network port for each card, as 400Gb/s.")
]
Explain = Annotated[bool, typer.Option("--explain", help="Show formula, inputs and sources of every number.")]


def described(cluster: Path | None, gpu: str, count: int, nic: str = "") -> Hardware:
    """What was described; raises BadInput when both or neither was given."""
    if (cluster is None) == (not gpu):
        raise BadInput("give either --cluster FILE or --gpu NAME (with --count N)")
    if cluster is not None:
        found = hardware_file(cluster)
    else:
        if count > 8 and count % 8:
            raise BadInput(f"--count {count} was given; above 8 it must be a multiple of 8, or use --cluster")
        resources: dict[str, Any] = {"gpu": {"type": gpu, "count": min(count, 8)}}
        if nic:
            resources["nic"] = {"count": min(count, 8), "speed": nic}
        found = hardware({"name": gpu, "servers": max(1, count // 8), "resources": resources}, what="--gpu")
    for remark in found.notes:
        note(remark)
    return found


def one_of(allowed: Sequence[Word], given: str, option: str) -> Word:
    """`given` as one of `allowed`. Raises BadInput with what is allowed."""
    found = next((one for one in allowed if one == given), None)
    if found is None:
        raise BadInput(f'{option} "{given}" was given; allowed are {", ".join(allowed)}')
    return found
