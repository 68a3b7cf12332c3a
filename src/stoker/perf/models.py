"""Shapes of well-known models, by name."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from stoker.errors import NotFound, near
from stoker.perf.datasheet import plain_name
from stoker.perf.transformer import Transformer
from stoker.typed import read


def transformer(name: str) -> Transformer:
    """The shape of the model called `name`, in any spelling. Raises NotFound with near names."""
    wanted = plain_name(name if " " in name else name.rpartition("/")[2])  # OWNER/NAME, as on a hub
    found = next((model for key, model in _known().items() if key == wanted), None)
    if found is None:
        spelled = {key: model.name for key, model in _known().items()}
        close = near(wanted, spelled)
        raise NotFound(
            f'no model "{name}" in the catalogue{_names(close, spelled)}; or give a folder with its config.json'
        )
    return found


def models() -> tuple[Transformer, ...]:
    """All of the catalogue, in its order."""
    return tuple(dict.fromkeys(_known().values()))


def _names(close: str, spelled: Mapping[str, str]) -> str:
    if not close:
        return ""
    keys = close.partition(": ")[2].split(", ")
    return f"; near names: {', '.join(dict.fromkeys(spelled[key] for key in keys))}"


@cache
def _known() -> Mapping[str, Transformer]:
    content = tomllib.loads(files("stoker.perf").joinpath("catalogue", "models.toml").read_text("utf-8"))
    found: dict[str, Transformer] = {}
    for name, entry in content.items():
        model = _read(name, entry)
        found.update((plain_name(alias), model) for alias in (name, *entry.get("aliases", ())))
    return found


def _read(name: str, entry: Mapping[str, Any]) -> Transformer:
    shape = {key: value for key, value in entry.items() if key not in ("aliases", "source")}
    return read(Transformer, {"name": name, **shape}, what=f"models.toml: {name}")
