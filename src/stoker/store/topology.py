"""Where nodes are in the network, as administrators say: one document with a revision."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from sqlalchemy import Connection, select

from stoker.node_topology import NodeTopology
from stoker.store.database import Database
from stoker.store.tables import topology
from stoker.typed import dump, read

_ROW = 1
Entries = Mapping[str, NodeTopology]


class TopologyStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    def revision(self) -> int:
        """Rises with every change; 0 before the first."""
        with self._database.read() as connection:
            return connection.execute(select(topology.c.revision)).scalar_one_or_none() or 0

    def all(self) -> tuple[int, Entries]:
        """The revision, and what it says of each node, by name."""
        with self._database.read() as connection:
            return _stored(connection)

    def change(self, to: Callable[[Entries], Entries]) -> Entries:
        """What is said becomes `to` of it, in one transaction."""
        with self._database.write() as connection:
            revision, entries = _stored(connection)
            changed = to(entries)
            document = json.dumps({name: dump(entry) for name, entry in changed.items()}, ensure_ascii=False)
            connection.execute(topology.delete())
            connection.execute(topology.insert().values(id=_ROW, revision=revision + 1, document=document))
            return changed


def _stored(connection: Connection) -> tuple[int, Entries]:
    row = connection.execute(select(topology)).one_or_none()
    if row is None:
        return 0, {}
    kept = json.loads(row.document)
    return row.revision, {name: read(NodeTopology, entry, what="stored topology") for name, entry in kept.items()}
