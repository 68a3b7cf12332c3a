"""The settings a recipe knows, read from its source: importing it would load what only jobs should load."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class Setting:
    """One field of a recipe's config."""

    name: str
    kind: str  # its type as written
    default: str  # as written; empty when it has none
    text: str  # the sentence beside it


@cache
def settings_of(recipe: str) -> Mapping[str, Setting]:
    """The fields of the config class that ``stoker.recipes.RECIPE`` hands to `stage.main`, in their order."""
    module = f"stoker.recipes.{recipe}"
    tree, lines = _source(module)
    name = _config_name(tree)
    place = _imported_from(tree, name)
    if place is not None:
        tree, lines = _source(place)
    found = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    return {setting.name: setting for setting in _fields(found, lines)}


def _source(module: str) -> tuple[ast.Module, list[str]]:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise LookupError(module)
    text = Path(spec.origin).read_text()
    return ast.parse(text), text.splitlines()


def _config_name(tree: ast.Module) -> str:
    """The first argument of the call ``main(CONFIG, run)`` at the module's end."""
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call) and len(node.args) == 2)
    for call in calls:
        config, run = call.args
        if isinstance(config, ast.Name) and isinstance(run, ast.Name) and run.id == "run":
            return config.id
    raise LookupError("no call main(CONFIG, run)")


def _imported_from(tree: ast.Module, name: str) -> str | None:
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and any(alias.name == name for alias in node.names):
            return node.module
    return None


def _fields(config: ast.ClassDef, lines: list[str]) -> list[Setting]:
    fields = []
    for node, after in zip(config.body, [*config.body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            default = ast.unparse(node.value) if node.value else ""
            fields.append(Setting(node.target.id, ast.unparse(node.annotation), default, _text(node, after, lines)))
    return fields


def _text(node: ast.AnnAssign, after: ast.stmt | None, lines: list[str]) -> str:
    """The comment at the end of the field's lines, or the string that follows it."""
    if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and isinstance(after.value.value, str):
        return " ".join(after.value.value.split())
    written = lines[node.lineno - 1 : node.end_lineno or node.lineno]
    comments = [line.split("# ", 1)[1].strip() for line in written if "# " in line]
    return " ".join(comment for comment in comments if not comment.startswith(("noqa", "type:")))
