"""docs/data.md names every form, reason, setting and kind of personal data there is."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from stoker.recipes import curation
from stoker.recipes.curation import pii
from stoker.recipes.curation.cleaning import CurateConfig
from stoker.recipes.curation.forms import FORMS
from stoker.recipes.curation.intake import ImportConfig

PAGE = (Path(__file__).parents[2] / "docs" / "data.md").read_text()


def reasons() -> set[str]:
    """What the sources raise or yield as reasons, but the families that the page names with a star."""
    sources = "".join(path.read_text() for path in Path(curation.__path__[0]).glob("*.py"))
    raised = re.findall(r'Rejected\("([a-z_0-9.]+)"|Reject\([^"\n]*?, "([a-z_0-9]+)"', sources)
    named = {one or two for one, two in raised} | set(re.findall(r'"(decontamination\.\w+)"', sources))
    return named - {"lorem_ipsum", "curly_bracket", "too_few_sentences"}  # of c4.*


def test_the_search_finds_reasons() -> None:
    assert {"no_answer", "bad_row", "chat.no_words", "decontamination.equal"} <= reasons()


@pytest.mark.parametrize("name", sorted(reasons()))
def test_reasons(name: str) -> None:
    assert f"`{name}`" in PAGE


@pytest.mark.parametrize(
    "name",
    [form.name for form in FORMS]
    + [field.name for config in (ImportConfig, CurateConfig) for field in dataclasses.fields(config)]
    + sorted({f"<{item.kind.upper()}>" for item in pii._PATTERNS}),
)
def test_names(name: str) -> None:
    assert f"`{name}`" in PAGE
