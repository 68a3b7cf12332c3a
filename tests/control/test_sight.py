"""One machine by whatever name."""

from __future__ import annotations

import pytest

from stoker.cluster import Node
from stoker.control.sight import Sight
from stoker.errors import Conflict, NotFound


def sight(*nodes: Node) -> Sight:
    return Sight({node.place: node for node in nodes})


def node(name: str, engine: str, host: str = "") -> Node:
    return Node(name, engine, 1, 1, host=host)


def test_a_machine_is_found_by_the_name_of_any_of_its_nodes() -> None:
    both = sight(node("gpu3", "slurm"), node("gpu3.pool", "k8s"), node("gpu4", "slurm"))
    for name in ("gpu3", "gpu3.pool"):
        assert {one.engine for one in both.machine(name)} == {"slurm", "k8s"}
    with pytest.raises(NotFound, match='no node "gpu5"; near names: gpu'):
        both.machine("gpu5")


def test_two_machines_of_one_name_are_not_taken_for_one() -> None:
    rooms = sight(node("gpu0", "slurm", "room1-gpu0"), node("gpu0", "k8s", "room2-gpu0"))
    with pytest.raises(Conflict, match='"gpu0" is the name of several machines; say which: room1-gpu0, room2-gpu0'):
        rooms.machine("gpu0")
    assert [one.engine for one in rooms.machine("room2-gpu0")] == ["k8s"]
    own = sight(node("gpu0", "slurm", "room1-gpu0"), node("gpu0", "k8s"))
    assert [one.engine for one in own.machine("gpu0")] == ["k8s"]  # the machine itself is called so
