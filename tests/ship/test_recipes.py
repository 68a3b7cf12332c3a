"""What the chain says of recipes, held against the recipes themselves."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from stoker.ship.chain import CHAIN
from stoker.sources.recipe_settings import settings_of

RECIPES = sorted({(step.recipe, step.version) for step in CHAIN if step.recipe} | {("fetch_base", 1)})


@pytest.mark.parametrize(("recipe", "version"), RECIPES)
def test_the_chain_knows_the_recipes_version(recipe: str, version: int) -> None:
    spec = importlib.util.find_spec(f"stoker.recipes.{recipe}")
    assert spec is not None
    assert spec.origin is not None
    tree = ast.parse(Path(spec.origin).read_text())
    said = [
        node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Constant)
        and any(isinstance(target, ast.Name) and target.id == "VERSION" for target in node.targets)
    ]
    assert said == [version], "raise the version in ship/chain.py together with the recipe's"


@pytest.mark.parametrize("recipe", [recipe for recipe, _ in RECIPES])
def test_every_setting_has_a_sentence(recipe: str) -> None:
    settings = settings_of(recipe)
    assert settings
    assert [setting.name for setting in settings.values() if not setting.text] == []


def test_the_page_of_settings_is_up_to_date() -> None:
    script = Path(__file__).parents[2] / "scripts" / "make-settings"
    done = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
