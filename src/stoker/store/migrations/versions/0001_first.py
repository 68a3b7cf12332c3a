"""The first schema."""

from __future__ import annotations

from alembic import op

from stoker.store.tables import metadata

revision = "0001"
down_revision = None

TABLES = (
    "facts", "counters", "jobs", "events", "submissions", "accounts", "sessions", "files", "shipments", "endpoints",
    "promotions",
)  # fmt: skip


def upgrade() -> None:
    metadata.create_all(op.get_bind(), tables=[metadata.tables[name] for name in TABLES])
