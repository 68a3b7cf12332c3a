"""Account: who may do what. A key belongs to a tenant and has a role; only its hash is kept."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    VIEWER = "viewer"  # reads
    USER = "user"  # submits and manages what their tenant owns
    ADMIN = "admin"  # everything

    def covers(self, needed: Role) -> bool:
        order = (Role.VIEWER, Role.USER, Role.ADMIN)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True)
class Account:
    """A key without its secret."""

    id: str  # public part, "ak-..."; safe to print
    name: str
    role: Role
    tenant: str
    created_at: float
    revoked: bool = False


@dataclass(frozen=True)
class MadeKey:
    """A new key. The secret cannot be shown again: only its hash is kept."""

    key: Account
    secret: str  # "sk-stk-..."

    def __repr__(self) -> str:
        return f"MadeKey(key={self.key!r})"
