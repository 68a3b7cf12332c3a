"""Keys over HTTP: a secret is shown once, when it is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import Field

from stoker.account import Account, MadeKey, Role
from stoker.api.auth import Caller, Platform
from stoker.api.fields import Name
from stoker.api.wire import Json
from stoker.page import Page
from stoker.typed import strict

router = APIRouter(prefix="/keys", tags=["keys"])

_Word = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f/\\'\"`$]+$")]


@strict
@dataclass(frozen=True)
class NewKey:
    """What a key is for; it acts in one tenant, with one role."""

    name: _Word
    role: Role = Role.USER
    tenant: _Word = "default"


@router.get("", response_model=Page[Account])
def find(app: Platform, who: Caller) -> Response:
    return Json(Page(tuple(app.accounts.list(who))))


@router.post("", response_model=MadeKey, status_code=201)
def create(body: NewKey, app: Platform, who: Caller) -> Response:
    return Json(MadeKey(*app.accounts.create(body.name, body.role, body.tenant, who)), 201)


@router.delete("/{key_id}", status_code=204)
def revoke(key_id: Name, app: Platform, who: Caller) -> None:
    """From now on the key is refused everywhere."""
    app.accounts.revoke(key_id, who)
