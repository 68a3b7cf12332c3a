"""Where a service job listens."""

from __future__ import annotations

import os


def bind_address(given: str = "") -> str:
    """`given`, else what the engine says by STOKER_BIND, else loopback.

    An engine whose nodes are other machines names an address there at which the platform reaches the job.
    """
    return given or os.environ.get("STOKER_BIND", "") or "127.0.0.1"
