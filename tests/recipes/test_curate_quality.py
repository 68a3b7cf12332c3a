"""The quick counts of repetition against the plain ones they stand for, and the words both are made of."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.recipes.curation import words as words_module
from stoker.recipes.curation.c4 import c4
from stoker.recipes.curation.quality import GopherRules, gopher
from stoker.recipes.curation.record import Rejected
from stoker.recipes.curation.repetition import RepetitionRules, repetition
from stoker.recipes.curation.words import Vocabulary, plain_of, words_of


def plain_repetition(text: str, words: list[str], rules: RepetitionRules) -> str:
    """The rules as datatrove's code says them, over joined strings."""
    for name, parts, most, most_chars in (
        ("para", text.split("\n\n"), rules.duplicate_paragraphs, rules.duplicate_paragraph_chars),
        ("line", [line for line in text.split("\n") if line], rules.duplicate_lines, rules.duplicate_line_chars),
    ):
        again = [part for place, part in enumerate(parts) if part in parts[:place]]
        if len(again) / len(parts) > most:
            return f"dup_{name}_frac"
        if sum(map(len, again)) / len(text) > most_chars:
            return f"dup_{name}_char_frac"
    for size, share in rules.top_n_gram_chars:
        grams = [" ".join(words[at : at + size]) for at in range(len(words) - size + 1)]
        if grams:
            gram, count = Counter(grams).most_common(1)[0]
            if len(gram) * count / len(text) > share:
                return f"top_{size}_gram"
    for size, share in rules.duplicate_n_gram_chars:
        seen, repeated, at = set(), 0, 0
        while at < len(words) - size + 1:
            gram = "".join(words[at : at + size])
            if gram in seen:
                repeated += len(gram)
                at += size
            else:
                seen.add(gram)
                at += 1
        if repeated / len(text) > share:
            return f"duplicated_{size}_n_grams"
    return ""


WORDS = st.sampled_from(["a", "to", "gpu", "power", "of", "configuration", "x9"])
PHRASE = st.lists(WORDS, min_size=1, max_size=12).map(" ".join)
PART = st.tuples(PHRASE, st.integers(1, 3), st.sampled_from([" ", "\n", "\n\n"]))
TEXT = st.lists(PART, min_size=1, max_size=25).map(
    lambda parts: "".join((phrase + end) * times for phrase, times, end in parts).strip()
)
LENIENT = RepetitionRules(
    duplicate_paragraphs=1, duplicate_paragraph_chars=1, duplicate_lines=1, duplicate_line_chars=1,
    top_n_gram_chars=((2, 0.6), (3, 0.5), (4, 0.5)), duplicate_n_gram_chars=((5, 0.3), (7, 0.2), (10, 0.1)),
)  # fmt: skip


@given(TEXT, st.sampled_from([RepetitionRules(), LENIENT]))
def test_quick_repetition_equals_plain_repetition(text: str, rules: RepetitionRules) -> None:
    assert repetition(text, Vocabulary().words(text), rules) == plain_repetition(text, text.split(), rules)


@pytest.mark.parametrize(
    ("chunk", "words"),
    [
        ("don't,", ["do", "n't", ","]),
        ("(GPU's", ["(", "GPU", "'s"]),
        ("well-known", ["well", "-", "known"]),
        ("GPL-3", ["GPL-3"]),
        ("--allow", ["--allow"]),
        ("e.g.", ["e.g."]),
        ("cannot", ["can", "not"]),
        ("https://a.b/c?d=1).", ["https://a.b/c?d=1", ")", "."]),
        ("wait...", ["wait", "..."]),
        ("光模块GPU。", ["光", "模", "块", "GPU", "。"]),
    ],
)
def test_words(chunk: str, words: list[str]) -> None:
    assert words_of(chunk) == words


@given(st.text())
def test_words_lose_no_character(text: str) -> None:
    for chunk in text.split():
        assert "".join(words_of(chunk)) == chunk


def test_plain_words() -> None:
    assert plain_of("Café-Préfix,1,234.5!") == ["cafe", "prefix", "0", "0"]
    assert plain_of("光模块A") == ["光", "模", "块", "a"]


def test_a_vocabulary_that_forgets_gives_the_same_words(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [" ".join(f"word{n}{m}" for n in range(50)) + " and the rest." for m in range(5)]
    roomy = [Vocabulary().words(text) for text in texts]
    monkeypatch.setattr(words_module, "_LIMIT", 60)
    tight = Vocabulary()
    for text, expected in zip(texts, roomy, strict=True):
        assert tight.words(text).hashes.tolist() == expected.hashes.tolist()
        assert tight.words(text).lengths.tolist() == expected.lengths.tolist()
        assert tight.plain(text).tolist() == Vocabulary().plain(text).tolist()


PROSE = "The quick fox and the lazy dog have to share one bus with all that they own. " * 5


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        (PROSE, ""),
        ("short", "short_doc"),
        ("word " * 100_001, "long_doc"),
        ("a b c d " * 20, "below_avg_threshold"),
        ("incomprehensibility " * 60, "above_avg_threshold"),
        (PROSE.replace(" ", " # "), "too_many_hashes"),
        (PROSE.replace(" ", " ... "), "too_many_ellipsis"),
        ("\n".join("- " + PROSE[:70] for _ in range(20)), "too_many_bullets"),
        ("\n".join(PROSE[:70] + "..." for _ in range(20)), "too_many_end_ellipsis"),
        (PROSE.replace("the", "1234").replace("to", "12").replace("and", "123"), "below_alpha_threshold"),
        ("Quick brown foxes jump over lazy dogs, says everybody. " * 8, "enough_stop_words"),
    ],
)
def test_gophers_rules(text: str, broken: str) -> None:
    assert gopher(text, Vocabulary().words(text), "en", GopherRules()) == broken


def test_c4_cuts_lines() -> None:
    good = [f"This is sentence number {n} of the page [12]." for n in range(5)]
    bad = [
        "Menu",
        "Too short.",
        "No stop at the end",
        "Enable JavaScript now.",
        "We use cookies to annoy you.",
        "And so on...",
    ]
    assert c4("\n".join([*bad, *good, "x" * 1001 + " is too long."])) == "\n".join(good).replace("[12]", "")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("Here is lorem ipsum again.", "lorem_ipsum"),
        ("Call f(x) { return y; } now.", "curly_bracket"),
        ("One sentence only here.", "too_few_sentences"),
    ],
)
def test_c4_refuses_texts(line: str, reason: str) -> None:
    with pytest.raises(Rejected) as rejected:
        c4(line)
    assert rejected.value.reason == reason
