"""Engines that administrators add."""

from __future__ import annotations

from alembic import op

from stoker.store.tables import engines

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    engines.create(op.get_bind())
