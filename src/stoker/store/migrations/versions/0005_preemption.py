"""Jobs: for whom one was preempted, whether it only moves, and when it saved itself last."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, Float, false, inspect

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    there = {column["name"] for column in inspect(op.get_bind()).get_columns("jobs")}
    added = (
        Column("gives_way_to", BigInteger),
        Column("moves", Boolean, nullable=False, server_default=false()),
        Column("checkpointed_at", Float),
    )
    for column in added:
        if column.name not in there:  # 0001 makes the tables of a fresh home as they are today
            op.add_column("jobs", column)
