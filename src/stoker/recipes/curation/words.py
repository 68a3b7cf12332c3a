"""Words: one pass over a text gives everything the quality rules and MinHash ask of its words.

Texts repeat their words, so a word is taken apart once and looked up from then on.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from hashlib import blake2b
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Numbers = NDArray[np.int32]
Traits = NDArray[np.uint8]

_LIMIT = 300_000  # words remembered; about 100 MB
_LONGEST = 40  # characters of a word worth remembering

PUNCTUATION = frozenset(
    "!/—”:％１〈&(、━\\【#%「」，】；+^]~“《„';’{|∶´[=-`*．（–？！：$～«〉,><》)?）。…@_.\"}►»؟॥۔।‼"
)
_HAN_OR_KANA = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_ABBREVIATIONS = "vs. Mr. Mrs. Ms. Dr. Prof. St. Inc. Ltd. Co. Corp. Jr. Sr. a.m. p.m. v.s."
_TOKEN = re.compile(
    rf"""
    (?:https?://|www\.)\S+?(?=[.,;:!?)\]}}>"'’”]*$)      # an address is one word
  | [{_HAN_OR_KANA}]                                      # without blanks between words, a character is one
  | \.{{2,}} | …
  | (?:{"|".join(map(re.escape, _ABBREVIATIONS.split()))})(?!\w)
  | (?<!\w)(?:[A-Za-z]\.)+(?![\w.])                      # e.g. and U.S.
  | n['’]t\b | ['’](?:s|S|ll|re|ve|d|m)\b | can(?=not\b) | \band/or\b
  | (?:(?<!\w)[-/+]+)?(?:(?!n['’]t\b)[^\W_{_HAN_OR_KANA}])+    # -h, and names such as a.b_c and UTF-8
    (?:(?:[._@&+\#] | (?<=[A-Za-z])-(?=\d))(?=\w)(?:(?!n['’]t\b)[^\W{_HAN_OR_KANA}])+)*
  | -{{2,}}
  | \S
    """,
    re.VERBOSE,
)
_NUMBER = re.compile(r"\d+(?:[.,]\d+)?")
_TO_SPACE = str.maketrans(dict.fromkeys(PUNCTUATION, " "))


_ALPHABETIC, _SYMBOL, _HAN = 1, 2, 4  # traits: has a letter; is nothing but punctuation; is one Han or kana


class Words:
    """The words of one text, in order. Equal words have equal hashes; lengths are in characters."""

    def __init__(self, hashes: Hashes, lengths: Numbers, traits: Traits) -> None:
        self.hashes = hashes
        self.lengths = lengths
        self._traits = traits
        self._grams = [hashes[:0], hashes]  # by size

    def __len__(self) -> int:
        return len(self.hashes)

    @property
    def alphabetic(self) -> int:
        """How many have a letter."""
        return int(np.count_nonzero(self._traits & _ALPHABETIC))

    @property
    def han(self) -> int:
        """How many are one Chinese or Japanese character."""
        return int(np.count_nonzero(self._traits & _HAN))

    @property
    def real(self) -> Numbers:
        """The lengths of those that are more than punctuation."""
        real: Numbers = self.lengths[(self._traits & _SYMBOL) == 0]
        return real

    def grams(self, size: int) -> Hashes:
        """A hash for each run of `size` words; empty when there are fewer."""
        while len(self._grams) <= size:
            self._grams.append(_longer(self._grams[-1], self.hashes[len(self._grams) - 1 :]))
        return self._grams[size]


def windows(hashes: Hashes, size: int) -> Hashes:
    """A hash for each run of `size` in a row; empty when there are fewer."""
    grams = hashes
    for length in range(1, size):
        grams = _longer(grams, hashes[length:])
    return grams ^ (grams >> _HALF)


def _longer(grams: Hashes, following: Hashes) -> Hashes:
    """Polynomial hashes modulo 2**64 of n-grams and the word after each."""
    return grams[: len(following)] * _BASE + following


_BASE = np.uint64(0x9E3779B97F4A7C15)  # odd; 2**64 over the golden ratio (Knuth, TAOCP 6.4)
_HALF = np.uint64(32)


class Vocabulary:
    """Every word seen so far, until there are too many; then it starts afresh. Hashes never change."""

    def __init__(self) -> None:
        self._forget()

    def words(self, text: str) -> Words:
        ids = self._ids(self._words, text)
        table = self._table
        return Words(table.hashes[ids], table.lengths[ids], table.traits[ids])

    def plain(self, text: str) -> Hashes:
        """Hashes of the words without case, punctuation and accents, numbers as 0 (datatrove's `simplify_text`)."""
        ids = self._ids(self._plain, text)
        return self._table.hashes[ids]

    def _ids(self, chunks: _Chunks, text: str) -> NDArray[np.intp]:
        found = list(chain.from_iterable(map(chunks.__getitem__, text.split())))
        if len(self._table) > _LIMIT:
            self._forget()
            return self._ids(self._words if chunks.split is words_of else self._plain, text)
        return np.array(found, dtype=np.intp)

    def _forget(self) -> None:
        self._table = _Table()
        self._words = _Chunks(words_of, self._table)
        self._plain = _Chunks(plain_of, self._table)


class _Chunks(dict[str, tuple[int, ...]]):
    """What stands between two blanks -> places of its words in the table."""

    def __init__(self, split: Callable[[str], list[str]], table: _Table) -> None:
        super().__init__()
        self.split = split
        self._table = table

    def __missing__(self, chunk: str) -> tuple[int, ...]:
        ids = tuple(map(self._table.place, self.split(chunk)))
        if len(chunk) <= _LONGEST:
            self[chunk] = ids
        return ids


class _Table:
    """Columns of what is known of each word; they grow by doubling."""

    def __init__(self) -> None:
        self._place: dict[str, int] = {}
        self._room = 1 << 12
        self.hashes: Hashes = np.zeros(self._room, np.uint64)
        self.lengths: Numbers = np.zeros(self._room, np.int32)
        self.traits: Traits = np.zeros(self._room, np.uint8)

    def __len__(self) -> int:
        return len(self._place)

    def place(self, word: str) -> int:
        known = self._place.get(word)
        if known is not None:
            return known
        place = self._place[word] = len(self._place)
        if place == self._room:
            self._grow()
        self.hashes[place] = word_hash(word)
        self.lengths[place] = len(word)
        self.traits[place] = _traits(word)
        return place

    def _grow(self) -> None:
        self._room *= 2
        for name in ("hashes", "lengths", "traits"):
            column: NDArray[Any] = getattr(self, name)
            setattr(self, name, np.concatenate([column, np.zeros_like(column)]))


def _traits(word: str) -> int:
    if all(c in PUNCTUATION for c in word):
        return _SYMBOL
    han = _HAN if len(word) == 1 and "\u3040" <= word <= "\ufaff" else 0
    return han | (_ALPHABETIC if any(map(str.isalpha, word)) else 0)


def word_hash(word: str) -> int:
    return int.from_bytes(blake2b(word.encode(), digest_size=8).digest(), "little")


def words_of(chunk: str) -> list[str]:
    """``"don't,"`` -> ``do n't ,``: a regular expression's idea of spaCy's English tokeniser; Han by character."""
    return _TOKEN.findall(chunk)


def plain_of(chunk: str) -> list[str]:
    simple = _NUMBER.sub("0", chunk.lower()).translate(_TO_SPACE)
    if not simple.isascii():
        simple = unicodedata.normalize("NFD", simple)
        simple = "".join(c for c in simple if unicodedata.category(c) != "Mn")
        simple = re.sub(f"([{_HAN_OR_KANA}])", r" \1 ", simple)
    return simple.split()
