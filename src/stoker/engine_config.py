"""EngineConfig: an engine as an administrator adds it. What its kind needs besides stands in `settings`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from stoker.errors import BadInput
from stoker.typed import read, strict

T = TypeVar("T")

LOCAL = "local"  # the engine of the platform's own machine, which is always there
_NAME = re.compile(r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$")


@strict
@dataclass(frozen=True)
class EngineConfig:
    """No secret is in here: keys and kubeconfigs are named by their path."""

    name: str
    kind: str  # "slurm", "kubernetes"
    site: str = ""  # where it stands: on-prem, cloud, edge
    taints: tuple[str, ...] = ()  # only jobs that tolerate all of them are placed here
    python: str = ""  # interpreter on its nodes that has stoker, for stages and replicas; empty: python3
    paths: Mapping[str, str] = field(default_factory=dict)  # folder here -> where its nodes see the same folder
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not _NAME.match(self.name):
            raise BadInput(
                f'"{self.name}" is no engine name: 1 to 32 small letters, digits and inner dashes', param="name"
            )
        if self.name == LOCAL:
            raise BadInput(f'"{LOCAL}" is the engine of this machine; choose another name', param="name")
        for path in (path for pair in self.paths.items() for path in pair):
            if not path.startswith("/") or "\n" in path or "=" in path:
                raise BadInput(f"{path!r} is no absolute path without =; write /here=/there", param="paths")


def settings_of(config: EngineConfig, kind: type[T]) -> T:
    """The settings of an engine as the dataclass of its kind; raises BadInput naming the first wrong one.

    From the command line a list comes as one text with commas.
    """
    lists = {one.name for one in fields(kind) if "tuple" in str(one.type)}  # type: ignore[arg-type]
    given = {
        name: [part.strip() for part in value.split(",")] if name in lists and isinstance(value, str) else value
        for name, value in config.settings.items()
    }
    return read(kind, given, what=f'engine "{config.name}"')


@dataclass(frozen=True)
class EngineStatus:
    """How an engine is now."""

    name: str
    kind: str
    site: str = ""
    taints: tuple[str, ...] = ()
    away: str = ""  # why it does not answer; empty while it does
    answered_at: float | None = None  # when it last answered, seconds since the epoch; None: never
    calls: int = 0  # how often it was asked since the platform started
    nodes: int = 0
    devices: int = 0
    jobs: int = 0  # ours that have not ended there
    foreign: int = 0  # of others
