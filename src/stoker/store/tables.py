"""Every table of the platform's database. A new noun adds its table here and a migration beside the others.

JSON is kept as text: SQLite and PostgreSQL read it alike, and `stoker.typed` checks it on the way out.
Times are seconds since the epoch.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, MetaData, String, Table, Text, false

metadata = MetaData()

facts = Table(
    "facts",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)

# Ids are handed out from here: an array takes a run of them, and a removed id never comes back.
counters = Table(
    "counters",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("next", BigInteger, nullable=False),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("tenant", String(128), nullable=False),
    Column("owner", String(128), nullable=False),
    Column("name", String(128), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("priority", Integer, nullable=False),
    Column("ship", String(64), nullable=False),
    Column("array_id", BigInteger),
    Column("array_index", Integer),
    Column("spec", Text, nullable=False),  # JobSpec as JSON
    Column("state", String(16), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("engine", String(64), nullable=False),
    Column("placements", Text, nullable=False),  # list of Placement as JSON
    Column("submitted_at", Float, nullable=False),
    Column("started_at", Float),
    Column("ended_at", Float),
    Column("exit_code", Integer),
    Column("reason", String(64), nullable=False),
    Column("message", Text, nullable=False),
    Column("cancel_requested", Boolean, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("not_before", Float),
    Column("gives_way_to", BigInteger),
    Column("moves", Boolean, nullable=False, server_default=false()),
    Column("checkpointed_at", Float),
    Index("jobs_by_state", "state", "priority", "id"),
    Index("jobs_by_name", "name", "id"),
    Index("jobs_by_ship", "ship", "id"),
    Index("jobs_by_array", "array_id", "array_index"),
    Index("jobs_by_tenant", "tenant", "id"),
)

# Append-only: every move of a job, written in the transaction that made it.
events = Table(
    "events",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("job", BigInteger, nullable=False),
    Column("at", Float, nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", String(64), nullable=False),
    Column("message", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Index("events_by_job", "job", "id"),
    sqlite_autoincrement=True,
)

# When waiting jobs were expected to start; what came stands in `jobs`.
predictions = Table(
    "predictions",
    metadata,
    Column("job", BigInteger, primary_key=True, autoincrement=False),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("at", Float, nullable=False),
    Column("start", Float, nullable=False),
)

# A request repeated with the same Idempotency-Key gets the jobs of the first.
submissions = Table(
    "submissions",
    metadata,
    Column("tenant", String(128), primary_key=True),
    Column("key", String(256), primary_key=True),
    Column("digest", String(64), nullable=False),  # of what was asked; the same key for something else is refused
    Column("jobs", Text, nullable=False),  # list of ids as JSON
    Column("at", Float, nullable=False),
)

accounts = Table(
    "accounts",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(128), nullable=False),
    Column("role", String(16), nullable=False),
    Column("tenant", String(128), nullable=False),
    Column("hash", String(64), nullable=False, unique=True),  # SHA-256 of the secret
    Column("created_at", Float, nullable=False),
    Column("revoked", Boolean, nullable=False),
)

sessions = Table(
    "sessions",
    metadata,
    Column("hash", String(64), primary_key=True),  # SHA-256 of the cookie's token
    Column("account", String(32), nullable=False),
    Column("expires_at", Float, nullable=False),
)

files = Table(
    "files",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("tenant", String(128), nullable=False),
    Column("owner", String(128), nullable=False),
    Column("name", Text, nullable=False),
    Column("purpose", String(64), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("created_at", Float, nullable=False),
    Index("files_by_tenant", "tenant", "created_at"),
)

# Shipments and endpoints change as a whole: one document each, guarded by a revision.
shipments = Table(
    "shipments",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("tenant", String(128), nullable=False),
    Column("state", String(16), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("request_digest", String(64), nullable=False),  # the same request again finds the running shipment
    Column("revision", Integer, nullable=False),
    Column("document", Text, nullable=False),  # Shipment as JSON
    Index("shipments_by_state", "state", "created_at"),
    Index("shipments_by_tenant", "tenant", "created_at"),
    Index("shipments_by_request", "request_digest"),
)

endpoints = Table(
    "endpoints",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("tenant", String(128), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("document", Text, nullable=False),  # Endpoint as JSON, without secrets
)

# Engines beside the local one. No secret is in the document.
engines = Table(
    "engines",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("document", Text, nullable=False),  # EngineConfig as JSON
)

# Nodes that this platform keeps closed, on whichever engine.
drains = Table(
    "drains",
    metadata,
    Column("engine", String(64), primary_key=True),
    Column("node", String(256), primary_key=True),
    Column("document", Text, nullable=False),  # NodeDrain as JSON
)

# Machines on their way from one engine to another.
moves = Table(
    "moves",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("active", String(256), unique=True),  # the machine, until the move is over: it has one at a time
    Column("created_at", Float, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("document", Text, nullable=False),  # NodeMove as JSON
)

balances = Table(
    "balances",
    metadata,
    Column("pair", String(128), primary_key=True),
    Column("document", Text, nullable=False),  # Balance as JSON
)

queues = Table(
    "queues",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("document", Text, nullable=False),  # Queue as JSON
)

# What was used of late, for fair shares over time: decayed device-seconds as of `at`, the same in all rows.
queue_usage = Table(
    "queue_usage",
    metadata,
    Column("queue", String(64), primary_key=True),
    Column("tenant", String(128), primary_key=True),
    Column("owner", String(128), primary_key=True),
    Column("used", Float, nullable=False),
    Column("at", Float, nullable=False),
)

# What queues were short of as of `at`, and by how many devices it grows from then on (schedule/credit.py).
queue_credit = Table(
    "queue_credit",
    metadata,
    Column("queue", String(64), primary_key=True),
    Column("at", Float, nullable=False),
    Column("owed", Float, nullable=False),  # device-seconds
    Column("short", Float, nullable=False),  # devices
    Column("most", Float, nullable=False),  # device-seconds
)

# One row: where nodes are in the network, as administrators say. It is read as a whole, and changes rarely.
topology = Table(
    "topology",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("revision", Integer, nullable=False),
    Column("document", Text, nullable=False),  # name of the node -> NodeTopology as JSON
)

# Append-only: who moved which alias when.
promotions = Table(
    "promotions",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("at", Float, nullable=False),
    Column("who", String(128), nullable=False),
    Column("model", String(256), nullable=False),
    Column("alias", String(64), nullable=False),
    Column("version", Integer, nullable=False),
    Column("previous", Integer),
    Column("action", String(16), nullable=False),
    Index("promotions_by_model", "model", "id"),
    sqlite_autoincrement=True,
)
