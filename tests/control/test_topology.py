"""What administrators say of where nodes are: kept, laid over what engines tell, and taken back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stoker.account import Account, Role
from stoker.cluster import Node
from stoker.control.changes import Changes
from stoker.control.topology import TopologyDesk
from stoker.errors import Denied, NotFound
from stoker.node_topology import NodeTopology
from stoker.store.database import Database
from stoker.store.topology import TopologyStore
from stoker.topology import Level

ADMIN = Account("ak-1", "root", Role.ADMIN, "t", 0.0)
VIEWER = Account("ak-2", "eve", Role.VIEWER, "t", 0.0)
LEAF, POD = Level.LEAF, Level.POD
ONE, TWO = Node("gpu1", "hpc", 8, 1, domains={POD: "p"}), Node("gpu2.cluster", "hpc", 8, 1, address="10.0.0.2")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path / 'db'}")
    opened.migrate()
    yield opened
    opened.close()


def domains(nodes: tuple[Node, ...]) -> list[dict[Level, str]]:
    return [dict(node.domains) for node in nodes]


def test_it_is_laid_over_what_engines_tell(database: Database) -> None:
    desk = TopologyDesk(TopologyStore(database), Changes())
    assert desk.over((ONE, TWO)) == (ONE, TWO)
    desk.apply({"gpu1": NodeTopology({LEAF: "s1"}), "10.0.0.2": NodeTopology({LEAF: "s2"})}, ADMIN)
    first = desk.over((ONE, TWO))
    assert domains(first) == [{LEAF: "s1", POD: "p"}, {LEAF: "s2"}]
    assert all(now is before for now, before in zip(desk.over((ONE, TWO)), first, strict=True))
    another = TopologyDesk(TopologyStore(database), Changes())  # another process, or after a restart
    another.apply({"gpu1": NodeTopology({POD: "q"})}, ADMIN)
    assert domains(desk.over((ONE, TWO))) == [{LEAF: "s1", POD: "q"}, {LEAF: "s2"}]
    desk.clear(["gpu1"], ADMIN)
    assert domains(desk.over((ONE, TWO))) == [{POD: "p"}, {LEAF: "s2"}]
    desk.clear((), ADMIN)
    assert desk.over((ONE, TWO)) == (ONE, TWO)
    assert desk.find(VIEWER) == {}


def test_only_administrators_say_it(database: Database) -> None:
    desk = TopologyDesk(TopologyStore(database), Changes())
    with pytest.raises(Denied):
        desk.apply({}, VIEWER)
    with pytest.raises(Denied):
        desk.clear((), VIEWER)
    with pytest.raises(NotFound):
        desk.clear(["gpu1"], ADMIN)
