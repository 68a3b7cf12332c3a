"""The model pages: versions with lineage and figures, compared, promoted and rolled back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Form, Query
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from stoker.console.evaluation import lower_is_better, unit_of
from stoker.console.session import PageRoute, Viewer
from stoker.errors import NotFound
from stoker.model import ModelVersion

CHAMPION = "champion"
# What a list of versions shows; everything else is in the comparison.
HEADLINE = (
    "evaluate.new.score",
    "evaluate.new.loss",
    "evaluate.new.perplexity",
    "train.tokens_per_s",
)

router = APIRouter(route_class=PageRoute)


@router.get("/models")
def models_page(view: Viewer) -> Response:
    return view.page("models.html", models=view.app.models.models(view.who), headline=headline, unit_of=unit_of)


@router.get("/models/{name}")
def model_page(view: Viewer, name: str) -> Response:
    versions = sorted(view.app.models.versions(name, view.who), key=lambda version: -version.version)
    return view.page(
        "model.html",
        name=name,
        versions=versions,
        champion=champion(versions),
        metrics=_shown(versions),
        unit_of=unit_of,
        journal=view.app.models.journal(name, view.who),
        endpoint=next((one for one in view.app.endpoints.find(view.who) if one.name == name), None),
    )


@router.get("/models/{name}/compare")
def compare(view: Viewer, name: str, v: Annotated[list[int], Query()] = []) -> Response:  # noqa: B006 - FastAPI copies
    versions = {version.version: version for version in view.app.models.versions(name, view.who)}
    for wanted in v:
        if wanted not in versions:
            raise NotFound.named(f"version of {name}", str(wanted), map(str, versions))
    chosen = [versions[number] for number in sorted(set(v) or set(sorted(versions)[-2:]))]
    metrics = _names(chosen)
    return view.page(
        "compare.html",
        name=name,
        versions=chosen,
        metrics=metrics,
        unit_of=unit_of,
        best={metric: _best(chosen, metric) for metric in metrics},
        settings=sorted({key for version in chosen for key in version.config}),
    )


@router.post("/models/{name}/promote")
def promote(view: Viewer, name: str, version: Annotated[int, Form()]) -> Response:
    view.app.models.promote(name, version, view.who)
    return RedirectResponse(f"/models/{name}", status_code=303)


@router.post("/models/{name}/rollback")
def rollback(view: Viewer, name: str) -> Response:
    view.app.models.rollback(name, view.who)
    return RedirectResponse(f"/models/{name}", status_code=303)


def champion(versions: Sequence[ModelVersion]) -> ModelVersion | None:
    return next((version for version in versions if CHAMPION in version.aliases), None)


def headline(version: ModelVersion) -> list[tuple[str, float]]:
    """The few figures that say how good a version is."""
    told = [name for name in HEADLINE if name in version.metrics] or sorted(version.metrics)
    return [(name, version.metrics[name]) for name in told[: len(HEADLINE)]]


def _names(versions: Sequence[ModelVersion]) -> list[str]:
    return sorted({metric for version in versions for metric in version.metrics})


def _shown(versions: Sequence[ModelVersion]) -> list[str]:
    """Columns of figures: those of the headline that any version has, else the first few."""
    names = _names(versions)
    return [name for name in HEADLINE if name in names] or names[: len(HEADLINE)]


def _best(versions: Sequence[ModelVersion], metric: str) -> int | None:
    """The version that does best by `metric`; None when they are equal or only one tells."""
    told = {version.version: version.metrics[metric] for version in versions if metric in version.metrics}
    if len(set(told.values())) < 2:
        return None
    pick = min if lower_is_better(metric) else max
    return pick(told, key=lambda version: told[version])
