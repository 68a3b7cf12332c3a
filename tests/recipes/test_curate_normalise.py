"""Normalising and language: one spelling for what looks the same, and a name for the tongue it is in."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stoker.recipes.curation.language import language_of
from stoker.recipes.curation.normalise import normalise


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("  a \r\n b\t\n\n\n\n c\u00a0d\ufeff ", "a\n b\n\n c d"),
        ("e\u0301te\u0301", "été"),
        ("donâ€™t, cafÃ©, â€œquoteâ€\x9d", "don’t, café, “quote”"),
        ("\u202eevil\u202c\x1b[31m\x00", "evil[31m"),
        ("    indented\n        more", "indented\n        more"),
        ("光模块\u3000温度", "光模块\u3000温度"),
        ("👩\u200d🔧 نمی\u200cخواهم", "👩\u200d🔧 نمی\u200cخواهم"),
        ("Â° and Ã alone", "Â° and Ã alone".replace("Â°", "°")),
        ("line\u2028line\x85line", "line\nline\nline"),
    ],
)
def test_normalise(given: str, normal: str) -> None:
    assert normalise(given) == normal


MIXED = st.text(
    alphabet=st.one_of(st.characters(codec="utf-8"), st.sampled_from("Ãâ€™Â©\u0301\u200b\r\n\t \u00a0é"))
)


@given(MIXED)
@example("Ã\u200b©")
@example("A\u0303©")
@example("Ã\u0083Â©")
def test_normalising_twice_changes_nothing_more(text: str) -> None:
    normal = normalise(text)
    assert normalise(normal) == normal
    assert unicodedata.is_normalized("NFC", normal)
    assert not any(unicodedata.category(c) == "Cc" and c not in "\n\t" for c in normal)
    assert normal == normal.strip()


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The GPU has fallen off the bus and must be reseated.", "en"),
        ("GPU 掉卡了", "zh"),
        ("Xid 79 是什么意思？", "zh"),
        ("请用 nvidia-smi 查看 retired pages", "zh"),
        ("これはテストです", "ja"),
        ("안녕하세요 여러분", "ko"),
        ("Wie kann ich das Passwort zurücksetzen?", "de"),
        ("ok", "und"),
        ("def f(x): return x+1", "und"),
        ("1234 5678", "und"),
    ],
)
def test_language(text: str, language: str) -> None:
    assert language_of(text) == language
