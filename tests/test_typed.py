"""What is said of outside data that does not fit: in words of ours, not of the library that found it."""

from __future__ import annotations

from typing import Any

import pytest

from stoker.errors import BadInput
from stoker.job import JobSpec, Resources
from stoker.typed import read


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"command": "true"}, "job: command: must be a list"),
        ([], "job: job: must be an object"),
        ({"command": ["true"], "nmae": "a"}, "job: nmae: there is no such field; near names: name, image"),
        ({"command": ["true"], "nodes": "two"}, "job: nodes: must be a valid integer"),
        ({"command": ["true"], "kind": "taks"}, "job: kind: must be 'task', 'service' or 'notebook'"),
        ({"command": ["true"], "resources": {"cpus": -1}}, "resources cannot be negative"),
    ],
)
def test_the_first_wrong_field_is_named(given: Any, said: str) -> None:
    with pytest.raises(BadInput) as refused:
        read(JobSpec, given, what="job")
    assert str(refused.value) == said


def test_what_fits_is_taken() -> None:
    assert read(JobSpec, {"command": ["true"], "resources": {"cpus": 2}}).resources == Resources(cpus=2)
