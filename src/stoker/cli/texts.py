"""What the command line's reports say in Chinese. The English text is the key; a test holds the two together."""

from __future__ import annotations

import os
from collections.abc import Mapping

from stoker.errors import BadInput

LANGUAGES = ("en", "zh")
_language = "en"


def use(given: str = "") -> None:
    """Speak `given`, or what the environment asks for."""
    global _language  # noqa: PLW0603 - one process runs one command line
    if given and _short(given) not in LANGUAGES:
        raise BadInput(f'--lang "{given}" was given; allowed are {", ".join(LANGUAGES)}')
    wishes = (given, *(os.environ.get(name, "") for name in ("STOKER_LANG", "LC_ALL", "LC_MESSAGES", "LANG")))
    wanted = next((_short(wish) for wish in wishes if wish), "en")
    _language = wanted if wanted in LANGUAGES else "en"


def t(text: str, **values: object) -> str:
    """`text` in the caller's language, with its ``{places}`` filled."""
    if _language == "zh":
        text = ZH.get(text, text)
    return text.format(**values) if values else text


def _short(tag: str) -> str:
    return tag.replace("_", "-").partition("-")[0].partition(".")[0].lower()


ZH: Mapping[str, str] = {}
