"""Machines that belong to two engines: drains, moves and their policies."""

from __future__ import annotations

from alembic import op

from stoker.store.tables import balances, drains, moves

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    for table in (drains, moves, balances):
        table.create(op.get_bind())
