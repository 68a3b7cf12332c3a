"""Queue file: queues as people write them in YAML.

    queues:
      - name: speech
        tenants: [speech]
        deserved: 32
        windows: [{when: Mon-Fri 20:00-08:00, deserved: 64}]
      - {name: speech-train, parent: speech, deserved_of: {H100: 16}, patience: 12h}

Durations are written with a unit; `none` says that there is no bound.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from stoker.errors import BadInput, StokerError
from stoker.queue import Queue
from stoker.spelling import check_length
from stoker.typed import read
from stoker.units import parse_duration

_DURATIONS = ("half_life", "patience")
_WITHOUT_BOUND = ("none", "unlimited")


def read_queues(text: str, *, source: str = "queue file") -> list[Queue]:
    """The queues that the YAML `text` lists; raises BadInput, which begins with `source`."""
    check_length(text, source)
    try:
        data = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise BadInput(f"{source}: {' '.join(str(error).split())}") from None
    given = data.get("queues") if isinstance(data, dict) and set(data) == {"queues"} else data
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        raise BadInput(f"{source}: write queues: and a list of queues, each with a name")
    try:
        return [read_queue(one) for one in given]
    except StokerError as error:
        raise BadInput(f"{source}: {error}", param=error.param) from None


def read_queue(given: Mapping[str, Any]) -> Queue:
    """A queue from plain words and numbers; raises BadInput naming the queue and the field."""
    plain = _plain(given)
    windows = plain.get("windows")
    if isinstance(windows, list):
        plain["windows"] = [_plain(one) if isinstance(one, dict) else one for one in windows]
    return read(Queue, plain, what=f'queue "{given.get("name", "")}"')


def read_window(text: str) -> dict[str, Any]:
    """``Mon-Fri 20:00-08:00 deserved=64 ceiling=128`` as the fields of a window."""
    when, fields = [], {}
    for word in text.split():
        name, equals, value = word.partition("=")
        if equals:
            fields[name] = value
        else:
            when.append(word)
    return {"when": " ".join(when), **fields}


def read_quota(texts: list[str], name: str) -> dict[str, Any]:
    """``16`` or ``H100=8``, each, as the fields `name` and `name`_of."""
    fields: dict[str, Any] = {}
    of: dict[str, str] = {}
    for text in texts:
        model, equals, devices = text.partition("=")
        if equals:
            of[model] = devices
        else:
            fields[name] = text
    return {**fields, **({f"{name}_of": of} if of else {})}


def _plain(given: Mapping[str, Any]) -> dict[str, Any]:
    """Durations in seconds, and what one model deserves counted to what all do."""
    plain = {key: _value(key, value) for key, value in given.items()}
    of = plain.get("deserved_of")
    if isinstance(of, dict) and of and "deserved" not in plain:
        plain["deserved"] = sum(float(devices) for devices in of.values() if _is_number(devices))
    return plain


def _value(key: str, value: Any) -> Any:
    if isinstance(value, str) and value.strip().lower() in _WITHOUT_BOUND:
        return None
    if key in _DURATIONS and isinstance(value, str):
        return parse_duration(value)
    return value


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True
