"""How our objects are called and marked in a cluster, so that they are found again and nothing else is touched."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from stoker.engine import Key, Order

CONTAINER = "main"
DRAINED = "stoker/drained"  # annotation of a node that we cordoned: installation and reason
_INSTALLATION, _JOB, _ATTEMPT, _RANK = "stoker/installation", "stoker/job", "stoker/attempt", "stoker/rank"
_NO_LABEL = re.compile(r"[^A-Za-z0-9_.-]+")


def base_name(installation: str, key: Key) -> str:
    """Of one attempt's objects. The same order always has the same names, so making them twice makes them once."""
    return f"stk-{installation}-{key.job}-{key.attempt}"


def pod_name(installation: str, key: Key, rank: int) -> str:
    return f"{base_name(installation, key)}-{rank}"


def labels_of(installation: str, order: Order) -> dict[str, str]:
    """What every object of an attempt bears."""
    return {
        "app.kubernetes.io/managed-by": "stoker",
        _INSTALLATION: installation,
        _JOB: str(order.key.job),
        _ATTEMPT: str(order.key.attempt),
        "stoker/owner": label_value(order.owner),
        "stoker/name": label_value(order.spec.name),
    }


def rank_label(rank: int) -> dict[str, str]:
    return {_RANK: str(rank)}


def selector(installation: str, key: Key | None = None) -> str:
    """A label selector for what is ours, or for what is of one attempt."""
    ours = f"{_INSTALLATION}={installation}"
    return f"{ours},{_JOB}={key.job},{_ATTEMPT}={key.attempt}" if key else ours


def label_value(text: str) -> str:
    """`text` as near as a label's value may come to it."""
    return _NO_LABEL.sub("-", text)[:63].strip("-_.")


def key_of(item: Mapping[str, Any], installation: str) -> Key | None:
    """Which attempt an object belongs to; None when it is not ours."""
    labels = item["metadata"].get("labels") or {}
    job, attempt = labels.get(_JOB, ""), labels.get(_ATTEMPT, "")
    if labels.get(_INSTALLATION) != installation or not (job.isdigit() and attempt.isdigit()):
        return None
    return Key(int(job), int(attempt))


def rank_of(pod: Mapping[str, Any]) -> int:
    return int(pod["metadata"]["labels"].get(_RANK, "0"))
