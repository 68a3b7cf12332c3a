"""What may be written in ``model``: endpoints, which answer, and base models, which can be fine-tuned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fastapi import APIRouter, Response

from stoker.account import Account
from stoker.api.auth import Caller, Platform
from stoker.api.openai.pages import Listing
from stoker.api.wire import Json
from stoker.app import App
from stoker.errors import NotFound
from stoker.sources.catalogue import catalogue

router = APIRouter(prefix="/models", tags=["models"])


@dataclass(frozen=True)
class ModelObject:
    """A model in OpenAI's form."""

    id: str
    created: int
    owned_by: str
    object: Literal["model"] = "model"


@router.get("", response_model=Listing[ModelObject])
def find(app: Platform, who: Caller) -> Response:
    models = tuple(_models(app, who).values())
    ends = (models[0].id, models[-1].id) if models else (None, None)
    return Json(Listing(models, False, *ends))


@router.get("/{name}", response_model=ModelObject)
def get(name: str, app: Platform, who: Caller) -> Response:
    models = _models(app, who)
    if name not in models:
        raise NotFound.named("model", name, models)
    return Json(models[name])


def _models(app: App, who: Account) -> dict[str, ModelObject]:
    bases = {name: ModelObject(name, 0, "base") for name in catalogue(app.home.path)}
    endpoints = {
        endpoint.name: ModelObject(endpoint.name, int(endpoint.created_at), endpoint.tenant)
        for endpoint in app.endpoints.find(who)
    }
    return bases | endpoints
