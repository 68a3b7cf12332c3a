"""The model registry: MLflow 3 on a database of its own. Versions, lineage, metrics, aliases.

MLflow is imported at first use: a server that never registers a model never pays for it. What the platform must
never lose or see reordered, the journal of promotions, is kept by the platform itself (`store.promotions`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from stoker.errors import Away, Broken, NoSpace, NotFound, StokerError
from stoker.model import ModelVersion

if TYPE_CHECKING:
    from mlflow import MlflowClient

# MLflow logs its migrations and phones home unless told before its import; a closed network wants neither.
_QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_LOGGING_LEVEL": "ERROR"}
_PASSING = ("TEMPORARILY_UNAVAILABLE", "INTERNAL_ERROR")  # MLflow's codes for what may work a moment later
_LONGEST = 300  # characters of what MLflow says; it adds whole SQL statements
_EXPERIMENT = "stoker"
_TAG = "stoker.version"  # our ModelVersion as JSON, on MLflow's version
_KEY = "stoker.key"  # what the version was made from: registering it again finds it
_TENANT = "stoker.tenant"


class Registry:
    """Thread-safe; one per home."""

    def __init__(self, url: str, artifacts: str) -> None:
        """`url` is an SQLAlchemy URL of MLflow's own database; `artifacts` the folder or URL of all versions."""
        self._url = url
        self._artifacts = artifacts
        self._made: MlflowClient | None = None
        self._lock = Lock()

    def register(self, draft: ModelVersion, *, key: str, tenant: str) -> ModelVersion:
        """Register `draft` (its version number is ignored) or find the version made from the same `key`."""
        with self._turn():
            client = self._client()
            found = self._find(draft.model, key)
            if found is not None:
                return found
            self._ensure_model(draft.model, tenant)
            run = self._record_run(draft)
            made = client.create_model_version(
                draft.model,
                f"{self._artifacts}/{draft.artifact}",
                run_id=run,
                tags={_TAG: json.dumps(_facts(draft)), _KEY: key},
            )
            return _version(made, ())

    def tenants(self) -> dict[str, str]:
        """Every registered model's name -> the tenant it belongs to."""
        if self._untouched():
            return {}
        with self._turn():
            return {model.name: model.tags.get(_TENANT, "") for model in self._models()}

    def owner(self, model: str) -> str | None:
        """The tenant a registered model belongs to, None when there is no such model."""
        return self.tenants().get(model)

    def versions(self, model: str) -> tuple[ModelVersion, ...]:
        """Newest first; empty when there is no such model."""
        with self._turn():
            aliases = self._aliases(model)
            found = self._search(f"name = '{_quoted(model)}'")
            versions = [_version(item, aliases.get(int(item.version), ())) for item in found]
        return tuple(sorted(versions, key=lambda version: -version.version))

    def version(self, model: str, number: int) -> ModelVersion:
        for version in self.versions(model):
            if version.version == number:
                return version
        raise NotFound(f'model "{model}" has no version {number}; see: stoker models show {model}')

    def set_alias(self, model: str, alias: str, number: int) -> None:
        with self._turn():
            self._client().set_registered_model_alias(model, alias, str(number))

    def alias(self, model: str, alias: str) -> int | None:
        """The version `alias` points to."""
        with self._turn():
            return next((number for number, names in self._aliases(model).items() if alias in names), None)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """One caller at a time; MLflow's own troubles in one line. Raises NoSpace, Away, Broken."""
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        from mlflow.exceptions import MlflowException

        with self._lock:
            try:
                yield
            except MlflowException as error:
                raise _plainly(error.error_code, str(error)) from error

    def _untouched(self) -> bool:
        """Whether nothing was ever registered: then looking should not cost MLflow's import and migrations."""
        file = self._url.removeprefix("sqlite:///")
        return self._made is None and file != self._url and not Path(file).exists()

    def _client(self) -> MlflowClient:
        if self._made is None:
            from mlflow import MlflowClient

            self._made = MlflowClient(tracking_uri=self._url, registry_uri=self._url)
        return self._made

    def _ensure_model(self, model: str, tenant: str) -> None:
        if not any(item.name == model for item in self._models()):
            self._client().create_registered_model(model, tags={_TENANT: tenant})

    def _record_run(self, draft: ModelVersion) -> str:
        client = self._client()
        found = client.get_experiment_by_name(_EXPERIMENT)
        experiment = found.experiment_id if found else client.create_experiment(_EXPERIMENT, self._artifacts)
        run_id: str = client.create_run(
            experiment, run_name=draft.model, tags={"stoker.ship": draft.ship}
        ).info.run_id
        for name, value in draft.config.items():
            client.log_param(run_id, name, value[:500])
        for name, number in draft.metrics.items():
            client.log_metric(run_id, name, number)
        client.set_terminated(run_id)
        return run_id

    def _find(self, model: str, key: str) -> ModelVersion | None:
        found = self._search(f"name = '{_quoted(model)}' and tags.`{_KEY}` = '{key}'")
        return _version(found[0], self._aliases(model).get(int(found[0].version), ())) if found else None

    def _aliases(self, model: str) -> dict[int, tuple[str, ...]]:
        named: dict[int, tuple[str, ...]] = {}
        for item in self._models():
            if item.name == model:
                for alias, number in item.aliases.items():
                    named[int(number)] = (*named.get(int(number), ()), alias)
        return named

    def _models(self) -> list[Any]:
        return _all_pages(self._client().search_registered_models, None)

    def _search(self, where: str) -> list[Any]:
        return _all_pages(self._client().search_model_versions, where)


def _plainly(code: str, told: str) -> StokerError:
    if any(sign in told.lower() for sign in ("disk is full", "no space left", "disk i/o error")):
        return NoSpace("no space left for the model registry; free some and try again")
    kind = Away if code in _PASSING else Broken
    return kind(f"the model registry says: {told[:_LONGEST]}")


def _all_pages(search: Any, where: str | None) -> list[Any]:
    found: list[Any] = []
    token: str | None = None
    while True:
        page = search(filter_string=where, page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def _facts(draft: ModelVersion) -> dict[str, Any]:
    return {
        "created_at": draft.created_at,
        "artifact": draft.artifact,
        "engine": draft.engine,
        "base": draft.base,
        "parent": draft.parent,
        "dataset": draft.dataset,
        "config": dict(draft.config),
        "metrics": dict(draft.metrics),
        "ship": draft.ship,
    }


def _version(item: Any, aliases: tuple[str, ...]) -> ModelVersion:
    facts: Mapping[str, Any] = json.loads(item.tags.get(_TAG, "{}"))
    defaults = {"created_at": item.creation_timestamp / 1000, "artifact": "", "engine": "", "base": ""}
    return ModelVersion(model=item.name, version=int(item.version), aliases=aliases, **{**defaults, **facts})


def _quoted(text: str) -> str:
    return text.replace("'", "''")
