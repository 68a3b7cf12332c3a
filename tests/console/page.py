"""A page taken apart: its links and sources, its visible text, and what it must not hold."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

from stoker.console.texts import catalogue

_VOID = {"meta", "link", "input", "br", "hr", "img"}
_SELF_CLOSED = {"use", "line", "rect", "path", "circle"}
_DOTTED = re.compile(r"\b[a-z_]+\.[a-z_]+(?:\.[a-z_]+)?\b")


@dataclass
class Page(HTMLParser):
    """Parses strictly enough to notice a tag that is not closed."""

    html: str
    addresses: list[str] = field(default_factory=list)
    inline: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    text: str = ""
    language: str = ""
    unlabelled: list[str] = field(default_factory=list)
    _open: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self._labels: set[str] = set()
        self._fields: list[str] = []
        self.feed(self.html)
        assert not self._open, f"never closed: {self._open}"
        self.unlabelled = [name for name in self._fields if name not in self._labels]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        self.addresses += [
            given[name] for name in ("href", "src", "action", "data-log", "formaction") if name in given
        ]
        if "style" in given or any(name.startswith("on") for name in given):
            self.inline.append(self.get_starttag_text() or tag)
        if tag in ("script", "style") and "src" not in given:
            self.inline.append(tag)
        if "id" in given:
            self.ids.append(given["id"])
        if tag == "html":
            self.language = given["lang"]
        if tag == "label":
            self._labels.add(given.get("for", ""))
        self._note_field(tag, given)
        if tag not in _VOID and not (tag in _SELF_CLOSED and (self.get_starttag_text() or "").endswith("/>")):
            self._open.append(tag)

    def _note_field(self, tag: str, given: dict[str, str]) -> None:
        asks = tag in ("select", "textarea") or (tag == "input" and given.get("type") != "hidden")
        if asks and "aria-label" not in given and "label" not in self._open:
            self._fields.append(given.get("id", given.get("name", tag)))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open[-1] == tag, f"</{tag}> closes <{self._open[-1]}>"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        self.text += data

    @property
    def outside(self) -> list[str]:
        """Addresses that lead away from this server."""
        return [
            address for address in self.addresses if not (address.startswith(("/", "#")) and address[:2] != "//")
        ]

    @property
    def raw_keys(self) -> set[str]:
        """Keys of the catalogue that stand in the text where their words should."""
        return set(_DOTTED.findall(self.text)) & set(catalogue("en"))
