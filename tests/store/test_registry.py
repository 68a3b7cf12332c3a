from __future__ import annotations

from pathlib import Path

import pytest

from stoker.errors import NotFound
from stoker.model import ModelVersion
from stoker.store.registry import Registry

DRAFT = ModelVersion(
    model="support",
    version=0,
    created_at=5.0,
    artifact="abc",
    engine="llama.cpp",
    base="tiny",
    dataset="d1",
    config={"method": "lora"},
    metrics={"evaluate.new.exact_match": 0.75},
    ship="ship-1",
)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    folder: Path = tmp_path_factory.mktemp("registry")
    return Registry(f"sqlite:///{folder}/mlflow.db", str(folder))


def test_a_version_comes_back_as_it_was_registered(registry: Registry) -> None:
    made = registry.register(DRAFT, key="k1", tenant="red")
    (found,) = registry.versions("support")
    assert made == found
    assert (found.version, found.metrics, found.config) == (1, DRAFT.metrics, DRAFT.config)
    assert registry.owner("support") == "red"


def test_the_same_thing_is_registered_once(registry: Registry) -> None:
    first = registry.register(DRAFT, key="k1", tenant="red")
    again = registry.register(DRAFT, key="k1", tenant="red")
    other = registry.register(DRAFT, key="k2", tenant="red")
    assert first.version == again.version != other.version


def test_aliases_move(registry: Registry) -> None:
    registry.register(DRAFT, key="k1", tenant="red")
    registry.register(DRAFT, key="k2", tenant="red")
    registry.set_alias("support", "champion", 1)
    registry.set_alias("support", "champion", 2)
    assert registry.alias("support", "champion") == 2
    assert [one.aliases for one in registry.versions("support")] == [("champion",), ()]


def test_what_is_not_there(registry: Registry) -> None:
    assert registry.versions("it's not there") == ()
    assert registry.owner("nobody") is None
    with pytest.raises(NotFound, match="version 99"):
        registry.version("support", 99)


def test_looking_into_an_empty_registry_makes_nothing(tmp_path: Path) -> None:
    """The first look would otherwise cost seconds: MLflow's import and the migrations of its database."""
    assert Registry(f"sqlite:///{tmp_path}/mlflow.db", str(tmp_path)).tenants() == {}
    assert list(tmp_path.iterdir()) == []
