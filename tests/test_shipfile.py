"""Ship files and their endpoint section: the same words as the options, and every mistake is named."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.endpoint import EndpointSettings, Scaling
from stoker.endpointfile import bounded, read_endpoint, read_endpoint_file, spelled
from stoker.errors import BadInput
from stoker.job import Resources
from stoker.shipfile import read_shipfile

WHOLE = """
data: ./tickets
base: qwen2.5-7b-instruct
name: support
method: full
settings: {train: {epochs: 3, lr: 2e-4, packing: false}, import: {columns: {prompt: ticket}}}
resources: {accelerators: H100:8, cpus: 16+}
num_nodes: 4
min_nodes: 2
preemptible: true
engine: hpc
promote: false
endpoint:
  {min: 0, max: 4, target: 16, ttft: 2s, tpot: 50ms, reserve: 1, window: 1m, idle: 1h, hold: 30s, queue: web}
"""


def test_a_whole_file() -> None:
    assert read_shipfile(WHOLE, source="ship.yaml") == {
        "data": "./tickets",
        "base": "qwen2.5-7b-instruct",
        "name": "support",
        "method": "full",
        "settings": {
            "train": {"epochs": 3, "lr": 2e-4, "packing": False},
            "import": {"columns": {"prompt": "ticket"}},
        },
        "resources": Resources(accelerators=8, models=("H100",), cpus=16),
        "nodes": 4,
        "min_nodes": 2,
        "preemptible": True,
        "engine": "hpc",
        "promote": False,
        "endpoint": EndpointSettings(Scaling(0, 4, 16.0, 2.0, 0.05, 1, 60.0, 3600.0, 30.0), "web"),
    }
    assert read_endpoint_file(WHOLE, source="ship.yaml").queue == "web"


@pytest.mark.parametrize(
    ("section", "floor", "ceiling"),
    [
        ("{replicas: 3}", 3, 3),
        ("{replicas: 0..4}", 0, 4),
        ("{min_replicas: 2, max_replicas: 5}", 2, 5),
        ("{max: 6}", 1, 6),
        ("{min: 3}", 3, 3),
        ("{min: 0}", 0, 1),
        ("{}", 1, 1),
    ],
)
def test_bounds(section: str, floor: int, ceiling: int) -> None:
    scaling = read_endpoint_file(f"endpoint: {section}", source="f").scaling
    assert (scaling.floor, scaling.ceiling) == (floor, ceiling)


@given(
    floor=st.integers(0, 5),
    more=st.integers(1, 9),
    target=st.floats(0.5, 4096).map(lambda number: round(number, 2)),
    latency=st.none() | st.integers(1, 90_000).map(lambda number: number / 1000),
    seconds=st.integers(0, 3600).map(float),
)
def test_what_is_spelled_is_read_as_the_same(
    floor: int, more: int, target: float, latency: float | None, seconds: float
) -> None:
    scaling = Scaling(floor, floor + more, target, latency, latency, more, seconds, seconds, seconds)
    section = {name: text for name, text in spelled(EndpointSettings(scaling, "web")).items() if text}
    told = read_endpoint(section)
    assert told.scaling.ttft == pytest.approx(latency)
    assert replace(told.scaling, ttft=latency, tpot=latency) == scaling


def test_one_bound_moves_the_other_only_where_it_must() -> None:
    had = Scaling(2, 4)
    assert bounded(had, None, 3, None) == Scaling(3, 4)
    assert bounded(had, None, 6, None) == Scaling(6, 6)
    assert bounded(had, None, None, 1) == Scaling(1, 1)
    assert bounded(had, None, None, None) == had


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("endpoint: {mim: 1}", 'f: unknown field in endpoint "mim"; near names: min'),
        ("endpoint: {min: 3, max: 2}", "f: 3 to 2 replicas were asked for"),
        ("endpoint: {replicas: 2, max: 4}", "f: replicas and min or max were given"),
        ("endpoint: {window: 5}", 'f: window: "5" has no unit'),
        ("endpoint: {ttft: 2}", 'f: ttft: "2" is no latency'),
        ("endpoint: {target: many}", 'f: target: "many" was given; a number is allowed'),
        ("endpoint: 3", "f: endpoint is a mapping"),
        ("data: x", "f: there is no endpoint section"),
        ("- x", "f: the file is a mapping of fields"),
    ],
)
def test_mistakes_in_the_section_are_named(text: str, says: str) -> None:
    with pytest.raises(BadInput) as error:
        read_endpoint_file(text, source="f")
    assert str(error.value).startswith(says)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("dta: x", 'f: unknown field "dta"; near names: data'),
        ("settings: {train: 3}", "f: settings is a mapping by stage"),
        ("preemptible: maybe", 'f: preemptible: "maybe" was given'),
        ("data: {a: b}", "f: data: a mapping was given"),
        ("data: [", "f line 1, column 8"),
    ],
)
def test_mistakes_in_a_ship_file_are_named(text: str, says: str) -> None:
    with pytest.raises(BadInput) as error:
        read_shipfile(text, source="f")
    assert str(error.value).startswith(says)
