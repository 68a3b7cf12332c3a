"""Quality: which texts are not worth training on, each refusal with the name of the rule.

Three sets of rules. "web" is what web pages need: Gopher's and C4's rules as datatrove has them. "documents" is
for what people chose to give: the same families with thresholds that let manuals, tickets and tables through, and
no line is ever cut out. "none" lets everything pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from stoker.recipes.curation.c4 import c4
from stoker.recipes.curation.record import Message, Rejected
from stoker.recipes.curation.repetition import RepetitionRules, repetition
from stoker.recipes.curation.words import Vocabulary, Words, word_hash

RuleSet = Literal["documents", "web", "none"]

_STOP_WORDS = {
    "en": frozenset(["the", "be", "to", "of", "and", "that", "have", "with"]),  # Gopher's eight
    "zh": frozenset("的了是在和有不我这为"),
}


@dataclass(frozen=True)
class GopherRules:
    """Rae et al. 2021 (arXiv 2112.11446, section A1.1); the defaults are the paper's.

    Words of a text that is mostly Han are its characters, and the length of words is not looked at.
    """

    min_words: int = 50
    max_words: int = 100_000
    min_mean_word_length: float = 3
    max_mean_word_length: float = 10
    max_symbols_per_word: float = 0.1  # "#", and "..." or "…"
    max_bullet_lines: float = 0.9
    max_ellipsis_lines: float = 0.3
    min_alphabetic_words: float = 0.8
    min_stop_words: int = 2


@dataclass(frozen=True)
class QualityRules:
    gopher: GopherRules
    repetition: RepetitionRules
    c4: bool


WEB = QualityRules(GopherRules(), RepetitionRules(), c4=True)
DOCUMENTS = QualityRules(
    GopherRules(
        min_words=10,
        max_words=1_000_000,
        min_mean_word_length=2,
        max_mean_word_length=15,
        max_symbols_per_word=0.5,
        max_bullet_lines=1.0,
        min_alphabetic_words=0.4,
        min_stop_words=0,
    ),
    RepetitionRules(
        duplicate_paragraphs=0.5,
        duplicate_paragraph_chars=0.5,
        duplicate_lines=0.5,
        duplicate_line_chars=0.5,
        top_n_gram_least=4,
        top_n_gram_chars=((2, 0.3), (3, 0.3), (4, 0.3)),
        duplicate_n_gram_chars=((5, 0.5), (10, 0.4)),
    ),
    c4=False,
)
_RULES = {"web": WEB, "documents": DOCUMENTS}
_LOOP = RepetitionRules(
    top_n_gram_least=4, top_n_gram_chars=((2, 0.3), (3, 0.3), (4, 0.3)), duplicate_n_gram_chars=((10, 0.4),)
)
_LOOP_WORDS = 80  # an answer shorter than this may well say the same twice


_STOP_WORD_HASHES = {
    language: frozenset(map(word_hash, stop_words)) for language, stop_words in _STOP_WORDS.items()
}


class Quality:
    def __init__(self, rules: RuleSet, vocabulary: Vocabulary) -> None:
        self._rules = _RULES.get(rules)
        self._vocabulary = vocabulary

    def of_text(self, text: str, language: str) -> str:
        """What is to be kept of `text`; raises Rejected, with a reason like ``gopher_repetition.top_2_gram``."""
        if self._rules is None:
            return text
        words = self._vocabulary.words(text)
        if broken := gopher(text, words, language, self._rules.gopher):
            raise Rejected(f"gopher_quality.{broken}", text)
        if broken := repetition(text, words, self._rules.repetition):
            raise Rejected(f"gopher_repetition.{broken}", text)
        if not self._rules.c4:
            return text
        try:
            return c4(text)
        except Rejected as rejected:
            raise Rejected(f"c4.{rejected.reason}", text) from None

    def of_chat(self, messages: Sequence[Message]) -> None:
        """The rules that make sense for conversations, where "Yes." is a good answer.

        Raises Rejected: chat.repeats_question, chat.no_words, chat.endless (an answer caught in a loop).
        """
        if self._rules is None:
            return
        answer = messages[-1]["content"]
        if answer.strip() == messages[-2]["content"].strip():
            raise Rejected("chat.repeats_question", answer)
        if not any(map(str.isalnum, answer)):
            raise Rejected("chat.no_words", answer)
        words = self._vocabulary.words(answer)
        if len(words) >= _LOOP_WORDS and repetition(answer, words, _LOOP):
            raise Rejected("chat.endless", answer)


def gopher(text: str, words: Words, language: str, rules: GopherRules) -> str:
    """The name of the first of Gopher's quality rules that `text` breaks, or ""."""
    if not len(words):
        return "short_doc"
    return _of_words(words, rules) or _of_lines(text, len(words), rules) or _of_speech(words, language, rules)


def _of_words(words: Words, rules: GopherRules) -> str:
    real = words.real
    if len(real) < rules.min_words:
        return "short_doc"
    if len(real) > rules.max_words:
        return "long_doc"
    if words.han * 2 > len(real):
        return ""
    mean = int(real.sum()) / max(len(real), 1)
    if mean < rules.min_mean_word_length:
        return "below_avg_threshold"
    return "above_avg_threshold" if mean > rules.max_mean_word_length else ""


def _of_lines(text: str, words: int, rules: GopherRules) -> str:
    if text.count("#") / words > rules.max_symbols_per_word:
        return "too_many_hashes"
    ellipses = text.count("...") + text.count("…")
    if ellipses / words > rules.max_symbols_per_word:
        return "too_many_ellipsis"
    lines = text.splitlines()
    if sum(line.lstrip().startswith(("•", "-")) for line in lines) / len(lines) > rules.max_bullet_lines:
        return "too_many_bullets"
    if (
        ellipses
        and sum(line.rstrip().endswith(("...", "…")) for line in lines) / len(lines) > rules.max_ellipsis_lines
    ):
        return "too_many_end_ellipsis"
    return ""


def _of_speech(words: Words, language: str, rules: GopherRules) -> str:
    if words.alphabetic / len(words) < rules.min_alphabetic_words:
        return "below_alpha_threshold"
    known = _STOP_WORD_HASHES.get(language)
    if known and rules.min_stop_words and len(known.intersection(words.hashes.tolist())) < rules.min_stop_words:
        return "enough_stop_words"
    return ""
