"""Errors and messages in the reader's language.

Whoever raises an error writes its English sentence once, where it happens. Here it is recognised by the sentences
of `error_texts`, its values are taken out, and it is said in Chinese: with that no error has to carry a key through
the store, the API and its clients. What the catalogue does not know stays as it is.
"""

from __future__ import annotations

import re
from functools import cache

from stoker.error_texts import MESSAGES
from stoker.error_texts_plan import PLANNING

_LONGEST = 2000  # characters of a message that is looked at
# Places of values that are words or sentences themselves.
_SPOKEN = ("error", "kind", "near", "reason", "state", "tail", "to", "what", "when")
_PLACE = re.compile(r"\{(\w+)\}")


def error_in(language: str, message: object) -> str:
    """`message`, an error or its text, in `language`; values that are sentences themselves as well."""
    text = str(message)
    return _told(text) if language == "zh" and len(text) <= _LONGEST else text


def _told(text: str) -> str:
    for pattern, chinese in _patterns():
        found = pattern.fullmatch(text)
        if found and (pattern.pattern != _OF or _told(found["error"]) != found["error"]):
            return _PLACE.sub(lambda place, of=found: _value(place[1], of[place[1]]), chinese)  # type: ignore[misc]
    return text


def _value(name: str, value: str) -> str:
    return _told(value) if name in _SPOKEN else value


@cache
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    """Those with most words of their own first: they say most about what they match."""
    texts = {**MESSAGES, **PLANNING}
    ranked = sorted(texts, key=lambda english: -len(_PLACE.sub("", english)))
    return [(_pattern(english), texts[english]) for english in ranked]


def _pattern(english: str) -> re.Pattern[str]:
    literals = _PLACE.split(english)  # text, name, text, name, ..., text
    parts = [f"(?P<{part}>.*?)" if at % 2 else re.escape(part) for at, part in enumerate(literals)]
    return re.compile("".join(parts), re.DOTALL)


_OF = _pattern("{what}: {error}").pattern  # no words of its own: it counts where the error is known
