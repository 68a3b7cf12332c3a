"""The console's words: one TOML catalogue a language, the same keys in each (a test holds it)."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib import resources
from typing import Any

from stoker.error_words import error_in

DEFAULT = "en"
LANGUAGES: Mapping[str, str] = {"en": "English", "zh": "简体中文"}


@cache
def catalogue(language: str) -> Mapping[str, str]:
    """Dotted key -> text with ``{named}`` places."""
    text = resources.files("stoker.console").joinpath(f"texts/{language}.toml").read_text("utf-8")
    return dict(_flat(tomllib.loads(text)))


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, str(value)


class Say:
    """Texts of one language: ``say("jobs.name")``."""

    def __init__(self, language: str) -> None:
        self.language = language
        self._texts = catalogue(language)

    def __call__(self, key: str, **values: object) -> str:
        """Raises KeyError for a key the catalogue does not have: a raw key is never shown."""
        text = self._texts[key]
        return text.format(**values) if values else text

    def error(self, error: object) -> str:
        """An error, or a message of the platform's, in the reader's language."""
        return error_in(self.language, error)

    def word(self, group: str, value: str) -> str:
        """The text of `value` in a `group` that others may add to (reasons, methods); else the value itself."""
        return self._texts.get(f"{group}.{value}", value)

    def knows(self, group: str, value: str) -> bool:
        return f"{group}.{value}" in self._texts

    def metric(self, name: str) -> str:
        """A metric's name, of dotted ones what matters: ``evaluate.base.loss`` is "Loss · base"."""
        *places, last = name.split(".")
        told = [self.word("metric_of", place) for place in places]
        return " · ".join([self.word("metric", last), *filter(None, told)])


def choose(cookie: str | None, accept: str) -> str:
    """The language of a page: what was chosen, else the first we have of the browser's list."""
    if cookie and cookie in LANGUAGES:
        return cookie
    return next((tag for tag in _wanted(accept) if tag in LANGUAGES), DEFAULT)


def _wanted(accept: str) -> Iterable[str]:
    """Primary tags of an Accept-Language header, most wanted first."""
    weighed = []
    for place, part in enumerate(accept.split(",")):
        tag, _, weight = part.partition(";q=")
        try:
            quality = float(weight or 1)
        except ValueError:
            quality = 0.0
        weighed.append((-quality, place, tag.strip().split("-")[0].lower()))
    return [tag for _, _, tag in sorted(weighed)]
