"""The scheduling policy over HTTP."""

from __future__ import annotations

from fastapi import APIRouter, Response

from stoker.api.auth import Caller, Platform
from stoker.api.wire import Json
from stoker.schedule import Policy

router = APIRouter(prefix="/policy", tags=["policy"])


@router.get("", response_model=Policy)
def get(app: Platform, who: Caller) -> Response:
    """The policy in force."""
    return Json(app.policy.get(who))


@router.put("", response_model=Policy)
def put(body: Policy, app: Platform, who: Caller) -> Response:
    """Set it; what is not given is as in the default."""
    return Json(app.policy.put(body, who))
