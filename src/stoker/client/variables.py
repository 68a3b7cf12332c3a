"""Variables that no library reads: a misspelt one is silently without effect, and costs days of GPUs."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from stoker.errors import near

_FAMILIES = ("NCCL_", "NVTE_", "TORCH_NCCL_")
_LIKE_A_FAMILY = 1  # letters by which the head of a misspelt name may differ: NTE_ for NVTE_


@cache
def known() -> frozenset[str]:
    """Names of the families above; known_variables.toml says from where."""
    tables = tomllib.loads(Path(__file__).with_name("known_variables.toml").read_text())
    return frozenset(name for table in tables.values() for name in table["names"].split())


def strange(names: Iterable[str]) -> list[str]:
    """One line for each of `names` that looks like one of a family but is none of its variables."""
    return [
        f"{name} is no variable that NCCL, PyTorch or Transformer Engine reads{near(name, known())}"
        for name in names
        if name not in known() and _of_a_family(name)
    ]


def _of_a_family(name: str) -> bool:
    head = name.partition("_")[0]
    return name.startswith(_FAMILIES) or any(
        _one_letter_apart(head, family.partition("_")[0]) for family in ("NCCL_", "NVTE_")
    )


def _one_letter_apart(given: str, meant: str) -> bool:
    """Whether one letter is missing, too many, another one, or two have changed places."""
    if given == meant or abs(len(given) - len(meant)) > _LIKE_A_FAMILY:
        return False
    shorter, longer = sorted((given, meant), key=len)
    if len(shorter) < len(longer):
        return any(longer[:index] + longer[index + 1 :] == shorter for index in range(len(longer)))
    different = [index for index, pair in enumerate(zip(given, meant, strict=True)) if pair[0] != pair[1]]
    return len(different) == 1 or (len(different) == 2 and sorted(given) == sorted(meant))
