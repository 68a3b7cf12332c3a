"""The words: both languages say the same things, and every key that is used is there."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

import pytest

from stoker.account import Role
from stoker.console.jobs import GROUPS
from stoker.console.texts import Say, catalogue, choose
from stoker.endpoint import ReplicaState
from stoker.job import JobKind, JobState
from stoker.node_move import MoveState
from stoker.perf.layout_memory import DeviceMemory
from stoker.perf.step import StepTime
from stoker.plan.network import Topology
from stoker.plan.network_expected import Part
from stoker.plan.network_picture import ENGLISH
from stoker.shipment import ShipmentState, Stage, StageState

CONSOLE = Path(__file__).parents[2] / "src" / "stoker" / "console"
_USED = re.compile(r"""\b(?:t|say)\(\s*["']([a-z_]+\.[\w.]+)["']\s*[,)]""")
_PLACE = re.compile(r"\{(\w+)\}")

PLANS = ("network", "training", "serving", "purchase", "storage", "memory")


def _asked(kind: str) -> Any:
    return import_module(f"stoker.console.plan_{kind}").Asked


GROUPS_OF_NAMES: dict[str, Iterable[str]] = {
    "job_state": JobState,
    "stage_state": StageState,
    "ship_state": ShipmentState,
    "replica_state": ReplicaState,
    "move_state": MoveState,
    "stage": Stage,
    "role": Role,
    "role_does": Role,
    "kind": JobKind,
    "jobs.show": [*GROUPS, "all"],
    "journal": ["promote", "rollback"],
    "plan_part": get_args(Part),
    "plan_picture": ENGLISH,
    "plan_use": [
        "leaf",
        "spine",
        "core",
        "server",
        "leaf_to_servers",
        "server_to_leaf",
        "leaf_to_spine",
        "spine_to_core",
    ],
    "plan_kind": PLANS,
    "plan_lead": PLANS[1:],
    "plan_field": [one.name for kind in PLANS[1:] for one in fields(_asked(kind))],
    "plan_part_of": [one.name for part in (StepTime, DeviceMemory) for one in fields(part)] + ["fragmentation"],
    "plan_training": ["layout", "step", "speed", "each", "mfu", "memory", "time", "cost"],
    "plan_serving": ["layout", "cards", "replicas", "ttft", "tail", "tpot", "batch", "cost"],
    "plan_purchase": ["option", "cards", "servers", "racks", "power", "cost"],
    "plan_storage": ["way", "stop", "every", "loss", "back", "outlives", "what", "needed", "there", "enough"],
    "plan_need": ["write", "read", "capacity"],
    "plan_tier": ["host memory", "NVMe"],
    "plan_way": [
        "in host memory, then in the background",
        "on NVMe, then in the background",
        "on the file system",
        "on the file system by GPUDirect Storage",
    ],
    "plan_topology": [name.replace("-", "_") for name in get_args(Topology)],
}


def test_the_catalogues_have_the_same_keys() -> None:
    assert set(catalogue("en")) == set(catalogue("zh"))


def test_a_text_names_the_same_values_in_every_language() -> None:
    english, chinese = catalogue("en"), catalogue("zh")
    different = {
        key for key in english if sorted(_PLACE.findall(english[key])) != sorted(_PLACE.findall(chinese[key]))
    }
    assert not different


@pytest.mark.parametrize(
    "path", [*CONSOLE.glob("templates/*.html"), *CONSOLE.glob("*.py")], ids=lambda path: path.name
)
def test_every_text_that_is_used_exists(path: Path) -> None:
    missing = set(_USED.findall(path.read_text())) - set(catalogue("en"))
    assert not missing


@pytest.mark.parametrize("group", GROUPS_OF_NAMES)
def test_every_name_of_ours_has_a_text(group: str) -> None:
    missing = {name for name in GROUPS_OF_NAMES[group] if f"{group}.{name}" not in catalogue("en")}
    assert not missing


def test_every_text_is_used() -> None:
    sources = "\n".join(path.read_text() for path in [*CONSOLE.glob("templates/*.html"), *CONSOLE.glob("*.py")])
    named = set(re.findall(r"""["']([a-z_]+\.[\w.]+)["']""", sources))
    built = (
        "nav",
        "role",
        "theme",
        "metric",
        "metric_of",
        "reason",
        "method",
        "drop",
        "pii",
        "alias",
        "health",
        "move_step",
        "endpoint_cause",
        "endpoint_setting",
        "endpoint_setting_help",
        *GROUPS_OF_NAMES,
    )
    unused = {
        key for key in catalogue("en") if key not in named and not key.startswith(tuple(f"{g}." for g in built))
    }
    assert not unused


def test_an_unknown_key_is_an_error_and_never_a_text() -> None:
    with pytest.raises(KeyError):
        Say("en")("jobs.nonsense")


def test_metric_names_with_places_are_said_shortly() -> None:
    assert Say("en").metric("evaluate.base.loss") == "Loss · base"
    assert Say("en").metric("evaluate.new.loss") == "Loss"
    assert Say("zh").metric("mfu") == "算力利用率 (MFU)"
    assert Say("en").metric("my_own_number") == "my_own_number"


@pytest.mark.parametrize(
    ("cookie", "accept", "chosen"),
    [
        (None, "", "en"),
        (None, "zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        (None, "fr, de;q=0.9, zh;q=0.2, en;q=0.1", "zh"),
        (None, "en;q=nonsense, zh;q=0.1", "zh"),
        ("en", "zh", "en"),
        ("klingon", "zh", "zh"),
    ],
)
def test_language_is_the_chosen_one_else_the_first_wanted_we_have(
    cookie: str | None, accept: str, chosen: str
) -> None:
    assert choose(cookie, accept) == chosen
