"""The user's price file. An example is shipped: perf/catalogue/prices.example.toml."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

from stoker.errors import BadInput, NotFound
from stoker.perf.accelerator import accelerator
from stoker.plan.prices import Prices
from stoker.typed import read


def prices(file: Path) -> Prices:
    """Raises NotFound without the file, BadInput for one that is spoilt or names a card nobody knows."""
    try:
        content = tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise NotFound(f"no {file}; copy the example that docs/planning.md shows") from None
    except (OSError, ValueError) as error:
        raise BadInput(f"cannot read {file} as TOML: {error}") from None
    if "asked" in content:
        content["asked"] = str(content["asked"])
    found = read(Prices, content, what=str(file))
    return replace(
        found, accelerators={accelerator(name).name: price for name, price in found.accelerators.items()}
    )
