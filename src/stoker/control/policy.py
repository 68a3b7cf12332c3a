"""PolicyDesk: by which settings jobs are scheduled."""

from __future__ import annotations

from collections.abc import Callable

from stoker.account import Account, Role
from stoker.control.changes import Changes
from stoker.control.rights import require
from stoker.schedule import Policy
from stoker.store.policy import PolicyStore


class PolicyDesk:
    """Thread-safe. A change is in the store when it is acknowledged, and holds from the next pass on."""

    def __init__(self, store: PolicyStore, wake: Callable[[], None], changes: Changes) -> None:
        self._store = store
        self._wake = wake
        self._changes = changes

    def get(self, who: Account) -> Policy:
        require(who, Role.VIEWER, "see the scheduling policy")
        return self._store.get()

    def put(self, policy: Policy, who: Account) -> Policy:
        """Raises Denied."""
        require(who, Role.ADMIN, "set the scheduling policy")
        self._store.put(policy)
        self._changes.bump()
        self._wake()
        return policy
