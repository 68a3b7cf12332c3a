"""What queues were short of, kept over a restart."""

from __future__ import annotations

from alembic import op

from stoker.store.tables import queue_credit

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    queue_credit.create(op.get_bind())
