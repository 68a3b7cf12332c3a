"""What the console ships: nothing from elsewhere, what was taken is what was published, and little of it."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from stoker.console import render

STATIC = Path(__file__).parents[2] / "src" / "stoker" / "console" / "static"
TEMPLATES = STATIC.parent / "templates"
# dist/idiomorph.min.js of the npm package idiomorph 0.8.0 (0BSD); see docs/decisions/0070.
VENDORED = {"idiomorph-0.8.0.min.js": "4cbd535caf7663a51eda9bce6595371c384fc430d54b8d414e29a61167f19f96"}
SHIPPED = (".js", ".css", ".svg", ".html")
_ADDRESS = re.compile(r"(?:https?:)?//[a-z0-9][\w.-]*\.[a-z]{2,}", re.IGNORECASE)
_NAMESPACE = re.compile(r"http://www\.w3\.org/[\w/]+")  # names of XML vocabularies; nobody fetches them


@pytest.mark.parametrize("name", VENDORED)
def test_vendored_code_is_what_was_published(name: str) -> None:
    assert hashlib.sha256((STATIC / "vendor" / name).read_bytes()).hexdigest() == VENDORED[name]
    assert (STATIC / "vendor" / f"{name.split('-', maxsplit=1)[0]}-LICENSE.txt").exists()


def test_all_vendored_code_is_accounted_for() -> None:
    assert {path.name for path in (STATIC / "vendor").glob("*.js")} == set(VENDORED)


@pytest.mark.parametrize(
    "path",
    [path for folder in (STATIC, TEMPLATES) for path in sorted(folder.rglob("*")) if path.suffix in SHIPPED],
    ids=lambda path: path.name,
)
def test_nothing_names_an_outside_address(path: Path) -> None:
    text = _NAMESPACE.sub("", path.read_text())
    assert not [found for found in _ADDRESS.findall(text) if "{{" not in found]


@pytest.mark.parametrize("path", sorted(TEMPLATES.glob("*.html")), ids=lambda path: path.name)
def test_templates_hold_no_inline_programs_or_styles(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)", text)
    assert not re.search(r"\s(?:style|on[a-z]+)\s*=\s*[\"']", text)
    assert "|safe" not in text.replace(" ", "")


def test_scripts_never_turn_text_into_markup_or_code() -> None:
    for path in STATIC.glob("*.js"):
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", path.read_text()
        )


def test_all_of_it_is_small() -> None:
    assert sum(len(asset.content) for asset in render.assets().values()) < 120_000


def test_addresses_of_assets_change_with_their_content() -> None:
    assert render.asset_url("console.css") == f"/static/{render.assets_version()}/console.css"
    with pytest.raises(KeyError):
        render.asset_url("missing.css")


def test_every_icon_that_is_used_is_drawn() -> None:
    drawn = set(re.findall(r'symbol id="([\w-]+)"', (STATIC / "icons.svg").read_text()))
    used = {name for path in TEMPLATES.glob("*.html") for name in re.findall(r"#([\w-]+)\"/>", path.read_text())}
    assert {name for name in used if not name.endswith("-")} <= drawn
    from stoker.console.texts import catalogue

    states = {key.partition(".")[2] for key in catalogue("en") if key.partition(".")[0].endswith("_state")}
    assert {f"st-{state}" for state in states} <= drawn


def test_the_docs_name_every_shortcut() -> None:
    docs = (Path(__file__).parents[2] / "docs" / "console.md").read_text()
    keys = re.findall(r'\{\{ ui\.nav\("[^"]+", "\w+", "(\w)"\) \}\}', (TEMPLATES / "base.html").read_text())
    assert len(keys) == 9
    assert all(f"`{key}`" in docs for key in (*keys, "g", "/", "?", "Enter", "Esc"))
