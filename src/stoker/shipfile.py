"""Ship file: a shipment as people write it in YAML.

    data: ./tickets
    base: qwen2.5-7b-instruct
    name: support
    settings: {train: {epochs: 3}}
    resources: {accelerators: H100:8}    # of the training, on each node
    num_nodes: 4
    min_nodes: 2                         # elastic: it does with so many
    preemptible: true
    endpoint: {min: 1, max: 4, target: 16}

``stoker ship FILE`` reads it; options win over what it says.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from stoker.endpointfile import read_endpoint
from stoker.errors import BadInput
from stoker.jobfile import read_resources
from stoker.yamltext import count, flag, load, plain, reading, rename

ALIASES = {"nodes": "num_nodes", "min_num_nodes": "min_nodes", "config": "settings"}


def read_shipfile(text: str, *, source: str) -> dict[str, Any]:
    """What the YAML `text` says, as fields of ShipmentRequest; `resources` are those of the training.

    `data`, `base` and `heldout` are as they stand there. Raises BadInput, which begins with `source`.
    """
    with reading(text, source):
        fields = rename(load(text, "a ship file", "data: ./tickets"), ALIASES, FIELDS, "field")
        return {_FIELDS[name][0]: _FIELDS[name][1](name, value) for name, value in fields.items()}


def setting(text: str) -> Any:
    """A value of a setting: JSON where it can be, else text."""
    try:
        value = json.loads(text)
        json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError):
        return text
    return value


def _settings(name: str, value: Any) -> dict[str, dict[str, Any]]:
    if not isinstance(value, dict) or not all(isinstance(inner, dict) for inner in value.values()):
        raise BadInput(
            "settings is a mapping by stage; write for example settings: {train: {epochs: 3}}", param=name
        )
    return {plain(name, stage): {plain(name, key): _value(item) for key, item in inner.items()}
            for stage, inner in value.items()}  # fmt: skip


def _value(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _value(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_value(inner) for inner in value]
    return setting(value) if isinstance(value, str) else value


_FIELDS: Mapping[str, tuple[str, Callable[[str, Any], Any]]] = {  # name in the file -> field, how to read it
    "data": ("data", plain),
    "base": ("base", plain),
    "name": ("name", plain),
    "heldout": ("heldout", plain),
    "method": ("method", plain),
    "settings": ("settings", _settings),
    "resources": ("resources", read_resources),
    "num_nodes": ("nodes", count),
    "min_nodes": ("min_nodes", count),
    "preemptible": ("preemptible", flag),
    "engine": ("engine", plain),
    "deploy": ("deploy", flag),
    "promote": ("promote", flag),
    "endpoint": ("endpoint", lambda _name, value: read_endpoint(value)),
}
FIELDS = tuple(_FIELDS)
