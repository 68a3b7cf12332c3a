"""Keys through the client."""

from __future__ import annotations

from collections.abc import Sequence

from stoker.account import Account, MadeKey, Role
from stoker.client.connection import Connection
from stoker.page import Page

_PATH = "/api/v1/keys"


class Keys:
    """``client.keys``"""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self) -> Sequence[Account]:
        return self._connection.get(Page[Account], _PATH).items

    def create(self, name: str, *, role: Role = Role.USER, tenant: str = "default") -> MadeKey:
        return self._connection.post(MadeKey, _PATH, {"name": name, "role": role.value, "tenant": tenant})

    def revoke(self, key_id: str) -> None:
        """From now on the key is refused everywhere."""
        self._connection.delete(f"{_PATH}/{key_id}")
