"""Imports go downwards only. This is the rule itself; the map of the code in the README follows it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import stoker

ROOT = Path(stoker.__file__).parent

# Lower layers first. A name is a module or a package right below `stoker`.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("units", "errors", "clock", "typed", "probe", "environment", "contents", "depot"),
    (
        "account", "balance", "cluster", "endpoint", "endpointfile", "engine", "engine_config", "error_texts",
        "error_texts_plan", "error_words", "expectation",
        "explanation", "explanation_texts", "explanation_words", "file", "finding", "foreign", "home", "hostlist",
        "job", "job_environment", "jobfile", "model", "node_drain", "node_move", "node_topology", "notebook",
        "page", "queue", "queue_standing", "queue_window", "reclaim",
        "queuefile", "sbatch", "sbatch_directives", "shipfile", "shipment", "signal", "spelling", "telemetry",
        "topology", "topology_file", "usage", "yamltext",
    ),
    ("perf",),
    ("judge",),
    ("schedule", "plan", "accept", "why", "ship", "serve"),
    ("engines", "sources", "store", "client", "simulate"),
    ("control",),
    ("app",),
    ("api", "console", "cli", "jupyterhub"),
    ("__main__",),
)  # fmt: skip
BESIDE = ("recipes",)  # programs of their own: may use layers 0 to 3, and nobody imports them
RECIPES_MAY = 3
# Readers of model files, which recipes open as the catalogue does; the machines' own sources stay out of reach.
MODEL_FILES = ("stoker.sources.basemodel", "stoker.sources.gguf")
# Within layer 1 a noun may be made of others; a cycle among them is refused below.
NOUNS = 1
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
# The skins meet in one process: whoever serves the API also serves the console, and `up` starts it.
SKINS = {("api", "console"), ("cli", "api")}


def top(module: str) -> str:
    """``stoker.store.jobs`` -> ``store``; empty for the package itself."""
    return module.split(".")[1] if "." in module else ""


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[str]:
    """Modules of stoker that `path` imports, wherever in the file, but for type checkers' eyes only."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "stoker")
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "stoker":
            for alias in node.names:
                deeper = ROOT.parent / Path(*node.module.split("."), alias.name)
                found = deeper.is_dir() or deeper.with_suffix(".py").is_file()
                yield f"{node.module}.{alias.name}" if found else node.module
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"


FILES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")
EDGES = sorted({(module_of(path), target) for path in FILES for target in imports(path)})


def test_every_module_has_a_layer() -> None:
    tops = {top(module_of(path)) for path in FILES}
    assert tops - set(LEVEL) - set(BESIDE) == set()


def test_imports_go_downwards() -> None:
    wrong = [edge for edge in EDGES if not allowed(*edge)]
    assert wrong == []


def allowed(source: str, target: str) -> bool:
    here, there = top(source), top(target)
    if here == there or there == "":
        return True
    if here in BESIDE:
        return target.startswith(MODEL_FILES) or LEVEL[there] <= RECIPES_MAY
    if there in BESIDE:
        return False
    if LEVEL[here] == LEVEL[there]:
        return LEVEL[here] <= NOUNS or (here, there) in SKINS
    return LEVEL[here] > LEVEL[there]


@pytest.mark.parametrize("package", ["engines", "sources"])
def test_siblings_are_strangers(package: str) -> None:
    """No engine knows another, no source another; only their parts know each other."""

    def sibling(module: str) -> str:
        return ".".join(module.split(".")[:3])

    inside = [edge for edge in EDGES if top(edge[0]) == top(edge[1]) == package]
    crossing = [edge for edge in inside if sibling(edge[0]) != sibling(edge[1])]
    assert [edge for edge in crossing if not edge[1].startswith(MODEL_FILES)] == []


def test_no_two_modules_import_each_other() -> None:
    graph: dict[str, set[str]] = {}
    for source, target in EDGES:
        if source != target and not source.startswith(f"{target}."):
            graph.setdefault(source, set()).add(target)
    assert find_cycle(graph) == []


def find_cycle(graph: dict[str, set[str]]) -> list[str]:
    """The modules of one import cycle, empty when there is none."""
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return []
        done.add(module)
        return next(
            (cycle for target in sorted(graph.get(module, ())) if (cycle := visit(target, [*path, module]))), []
        )

    return next((cycle for module in sorted(graph) if (cycle := visit(module, []))), [])


def test_the_probe_imports_nothing_but_the_standard_library() -> None:
    assert list(imports(ROOT / "probe.py")) == []


def test_no_module_is_a_drawer_for_everything() -> None:
    drawers = {"utils", "util", "common", "helpers", "helper", "manager", "core", "misc", "base"}
    assert [path for path in FILES if path.stem in drawers] == []
