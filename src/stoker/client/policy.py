"""The scheduling policy through the client."""

from __future__ import annotations

from stoker.client.connection import Connection
from stoker.schedule import Policy
from stoker.typed import dump

_PATH = "/api/v1/policy"


class SchedulingPolicy:
    """``client.policy``"""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self) -> Policy:
        return self._connection.get(Policy, _PATH)

    def set(self, policy: Policy) -> Policy:
        """It holds from the next scheduling pass on, and survives restarts."""
        return self._connection.put(Policy, _PATH, dump(policy))
