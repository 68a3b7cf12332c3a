"""Who may see and change what: one tenant's things are not there for another, admins see all."""

from __future__ import annotations

from stoker.account import Account, Role
from stoker.errors import Denied, NotFound


def require(who: Account, role: Role, to: str = "do this") -> None:
    """Raises Denied unless `who` has at least `role`; `to` completes "... is needed to"."""
    if not who.role.covers(role):
        raise Denied(f'key "{who.name}" has the role {who.role}; {role} is needed to {to}')


def sees(who: Account, tenant: str) -> bool:
    return who.role is Role.ADMIN or who.tenant == tenant


def require_sight(who: Account, tenant: str, kind: str, name: str) -> None:
    """What belongs to another tenant does not exist for `who`."""
    if not sees(who, tenant):
        raise NotFound(f'no {kind} "{name}"')


def platform(tenant: str = "", owner: str = "platform") -> Account:
    """Who the platform's own loops act as: for `owner` of `tenant`, or for nobody in particular."""
    return Account("platform", owner, Role.ADMIN, tenant, created_at=0.0)
