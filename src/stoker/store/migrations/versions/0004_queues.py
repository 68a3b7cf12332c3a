"""Queues, and what was used of them."""

from __future__ import annotations

from alembic import op

from stoker.store.tables import queue_usage, queues

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    for table in (queues, queue_usage):
        table.create(op.get_bind())
