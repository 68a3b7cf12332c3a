"""Moves of machines between engines as the store keeps them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace

from sqlalchemy import Row, select
from sqlalchemy.exc import IntegrityError

from stoker.errors import Conflict, NotFound
from stoker.node_move import NodeMove
from stoker.store.database import Database
from stoker.store.tables import moves
from stoker.typed import dump, read

_LARGEST = 2**63 - 1  # what a database can be asked for


@dataclass(frozen=True)
class KeptMove:
    """A move with the revision it was read at."""

    move: NodeMove
    revision: int


class MoveStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, drafts: Iterable[NodeMove]) -> list[NodeMove]:
        """Store all of `drafts` or none, each with an id of its own; ``{id}`` in a drain reason becomes it.

        Raises Conflict where a machine is being moved already.
        """
        wanted = list(drafts)
        machine = ""
        try:
            with self._database.write() as connection:
                first = self._database.take_ids(connection, "moves", len(wanted))
                numbered = [_numbered(draft, first + place) for place, draft in enumerate(wanted)]
                for move in numbered:
                    machine = move.machine
                    connection.execute(moves.insert().values({**_row(move), "revision": 1}))
        except IntegrityError:
            raise Conflict(f"{machine} is being moved already; see: stoker nodes moves") from None
        return numbered

    def save(self, move: NodeMove, revision: int) -> bool:
        """Replace the move if nobody has since `revision`; False when somebody has."""
        mine = (moves.c.id == move.id) & (moves.c.revision == revision)
        with self._database.write() as connection:
            change = moves.update().where(mine).values({**_row(move), "revision": revision + 1})
            return connection.execute(change).rowcount == 1

    def get(self, move_id: int) -> KeptMove:
        row = None
        if 0 < move_id <= _LARGEST:
            with self._database.read() as connection:
                row = connection.execute(select(moves).where(moves.c.id == move_id)).one_or_none()
        if row is None:
            raise NotFound(f"no move {move_id}; see: stoker nodes moves --all")
        return _kept(row)

    def going(self) -> list[KeptMove]:
        """Those that are not over, oldest first."""
        query = select(moves).where(moves.c.active.is_not(None)).order_by(moves.c.id)
        with self._database.read() as connection:
            return [_kept(row) for row in connection.execute(query)]

    def find(self, *, limit: int) -> list[NodeMove]:
        """Newest first."""
        query = select(moves).order_by(moves.c.id.desc()).limit(limit)
        with self._database.read() as connection:
            return [_kept(row).move for row in connection.execute(query)]


def _numbered(draft: NodeMove, move_id: int) -> NodeMove:
    return replace(draft, id=move_id, drain_reason=draft.drain_reason.replace("{id}", str(move_id)))


def _row(move: NodeMove) -> dict[str, object]:
    return {
        "id": move.id,
        "active": None if move.state.final else move.machine,
        "created_at": move.created_at,
        "document": json.dumps(dump(move), ensure_ascii=False),
    }


def _kept(row: Row[tuple[object, ...]]) -> KeptMove:
    return KeptMove(read(NodeMove, json.loads(row.document), what="stored move"), row.revision)
