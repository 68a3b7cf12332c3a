"""Programs that run inside jobs, started as ``python -m stoker.recipes.NAME SPEC.json``.

Each recipe is one module with a frozen dataclass ``Config`` (a sentence per field), a ``VERSION`` that is
raised when the same inputs would give another output, and ``run(stage: Stage[Config]) -> dict`` whose return
value becomes ``result.json``. `stage.main` does the rest. Recipes may import layers 0-3 and heavy libraries;
nothing imports recipes.
"""
