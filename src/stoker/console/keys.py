"""The page of keys, for admins: who may do what; a new key is shown once."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from stoker.account import Account, Role
from stoker.console.session import PageRoute, View, Viewer
from stoker.errors import BadInput, Denied

router = APIRouter(route_class=PageRoute)


@router.get("/keys")
def keys_page(view: Viewer) -> Response:
    return _page(view)


@router.post("/keys")
def create(
    view: Viewer, name: Annotated[str, Form()], role: Annotated[str, Form()], tenant: Annotated[str, Form()]
) -> Response:
    """Answers with the page itself rather than a redirect: the secret is in this one response only."""
    if role not in set(Role):
        raise BadInput(f'"{role}" is no role; there are: {", ".join(Role)}', param="role")
    account, secret = view.app.accounts.create(name.strip(), Role(role), tenant.strip(), view.who)
    return _page(view, account, secret)


@router.post("/keys/{account_id}/revoke")
def revoke(view: Viewer, account_id: str) -> Response:
    view.app.accounts.revoke(account_id, view.who)
    return RedirectResponse("/keys", status_code=303)


def _page(view: View, made: Account | None = None, secret: str = "") -> Response:
    if not view.who.role.covers(Role.ADMIN):
        raise Denied(f'your role is "{view.who.role}"; keys are managed by admins')
    accounts = view.app.accounts.list(view.who)
    return view.page("keys.html", accounts=accounts, made=made, secret=secret, roles=list(Role))
