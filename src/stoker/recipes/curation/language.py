"""Which language a text is in: by its script where that settles it, else by a small offline model (py3langid)."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier  # type: ignore[import-untyped]  # it has no stubs

UNKNOWN = "und"  # ISO 639-3: undetermined
_SAMPLE = 400  # characters; more of the same text hardly changes the answer and costs time
_MIN_CONFIDENCE = 0.5
_HAN = re.compile("[\u3400-\u9fff\uf900-\ufaff]")
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uac00-\ud7af]|[A-Za-z\u00c0-\u1fff]+")
_KANA = re.compile("[\u3040-\u30ff\uff66-\uff9d]")
_HANGUL = re.compile("[\uac00-\ud7af\u1100-\u11ff]")


def language_of(text: str) -> str:
    """ISO 639-1 code, or ``und`` when the text is too short or too odd to tell.

    Mixed text counts as Chinese when a fifth of its words are Han: one character says about as much as a word.
    """
    sample = text[:_SAMPLE] if len(text) <= 3 * _SAMPLE else text[_SAMPLE : 2 * _SAMPLE]
    if not sample.isascii():
        words = len(_WORD.findall(sample))
        for script, share, language in ((_KANA, 0.1, "ja"), (_HANGUL, 0.2, "ko"), (_HAN, 0.2, "zh")):
            if words and len(script.findall(sample)) >= share * words:
                return language
    best, confidence = _identifier().classify(sample)
    return best if confidence >= _MIN_CONFIDENCE else UNKNOWN


@cache
def _identifier() -> LanguageIdentifier:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
