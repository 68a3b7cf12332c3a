"""The first schema: every table of `stoker.store.tables`."""

from __future__ import annotations

from alembic import op

from stoker.store.tables import metadata

revision = "0001"
down_revision = None


def upgrade() -> None:
    metadata.create_all(op.get_bind())
