"""A fine-tuning request in OpenAI's words, and the shipment it asks for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Annotated, Any, Literal

from pydantic import Field

from stoker.errors import BadInput
from stoker.shipment import ShipmentRequest, Stage
from stoker.typed import strict

Auto = Literal["auto"]


@strict
@dataclass(frozen=True)
class Hyperparameters:
    """``auto`` leaves a value to the training recipe."""

    n_epochs: Auto | Annotated[int, Field(ge=1, le=1000)] = "auto"
    batch_size: Auto | Annotated[int, Field(ge=1, le=65_536)] = "auto"
    learning_rate_multiplier: Auto | Annotated[float, Field(gt=0, le=1000)] = "auto"


@strict
@dataclass(frozen=True)
class Supervised:
    hyperparameters: Hyperparameters = field(default_factory=Hyperparameters)


@strict
@dataclass(frozen=True)
class Method:
    type: Literal["supervised", "dpo", "reinforcement"] = "supervised"
    supervised: Supervised | None = None
    dpo: Mapping[str, Any] | None = None
    reinforcement: Mapping[str, Any] | None = None


@strict
@dataclass(frozen=True)
class TuningRequest:
    """The body of ``POST /v1/fine_tuning/jobs``."""

    model: Annotated[str, Field(min_length=1, max_length=200)]
    training_file: Annotated[str, Field(min_length=1, max_length=200)]
    validation_file: Annotated[str, Field(max_length=200)] | None = None
    suffix: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    method: Method | None = None
    hyperparameters: Hyperparameters | None = None  # the older place
    integrations: tuple[Mapping[str, Any], ...] | None = None
    metadata: Mapping[str, str] | None = None


def shipment_request(request: TuningRequest) -> ShipmentRequest:
    """What `request` asks for in our words; raises BadInput for what is not offered."""
    if request.method and request.method.type != "supervised":
        raise BadInput(f"method.type: {request.method.type} is not offered; supervised is", param="method.type")
    if request.integrations:
        raise BadInput("integrations: none are offered; leave it out", param="integrations")
    for name in ("training_file", "validation_file"):
        given = getattr(request, name)
        if given and "/" in given:
            raise BadInput(f"{name}: the id of an uploaded file is needed", param=name)
    return ShipmentRequest(
        data=request.training_file,
        heldout=request.validation_file or "",
        base=request.model,
        name=_model_name(request),
        settings={Stage.TRAIN.value: _train_settings(request)},
    )


def _train_settings(request: TuningRequest) -> dict[str, Any]:
    chosen = request.method.supervised.hyperparameters if request.method and request.method.supervised else None
    given = chosen or request.hyperparameters or Hyperparameters()
    settings = {
        "epochs": given.n_epochs,
        "batch": given.batch_size,
        "learning_rate_multiplier": given.learning_rate_multiplier,
        "seed": "auto" if request.seed is None else request.seed,
    }
    return {name: value for name, value in settings.items() if value != "auto"}


def _model_name(request: TuningRequest) -> str:
    """The suffix names the model, so that the same suffix makes its next version; without one the name is new."""
    if request.suffix:
        return _slug(request.suffix)
    base = _slug(request.model.rstrip("/").rpartition("/")[2])
    return f"{base}-{token_hex(3)}"


def _slug(text: str) -> str:
    slug = re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-.")
    if not slug:
        raise BadInput(f'"{text}" has no letter or digit to make a model\'s name of', param="suffix")
    return slug
