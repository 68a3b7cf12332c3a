"""Gopher's repetition rules (Rae et al. 2021, arXiv 2112.11446, table A1), in the reading of datatrove 0.10.

datatrove counts with Python sets over joined strings. Here n-grams are 64-bit hashes, and bounds settle most texts
without an exact count: a longer repeated n-gram lies within repeated 5-grams, so if those cover little, all do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stoker.recipes.curation.words import Words, windows

_PARAGRAPHS = re.compile(r"\n{2,}")
_LINES = re.compile(r"\n+")


@dataclass(frozen=True)
class RepetitionRules:
    """Largest shares; those of characters are of all characters of the text."""

    duplicate_paragraphs: float = 0.3
    duplicate_paragraph_chars: float = 0.2
    duplicate_lines: float = 0.3
    duplicate_line_chars: float = 0.2
    top_n_gram_chars: tuple[tuple[int, float], ...] = ((2, 0.2), (3, 0.18), (4, 0.16))
    duplicate_n_gram_chars: tuple[tuple[int, float], ...] = (
        (5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.10),
    )  # fmt: skip


def repetition(text: str, words: Words, rules: RepetitionRules) -> str:
    """The name of the first rule that `text` breaks, or ""."""
    return _of_lines(text, rules) or _of_n_grams(len(text), words, rules)


def _of_lines(text: str, rules: RepetitionRules) -> str:
    for unit, parts, most, most_chars in (
        ("para", _PARAGRAPHS.split(text.strip()), rules.duplicate_paragraphs, rules.duplicate_paragraph_chars),
        ("line", _LINES.split(text), rules.duplicate_lines, rules.duplicate_line_chars),
    ):
        unique = set(parts)
        if len(unique) == len(parts):
            continue
        if (len(parts) - len(unique)) / len(parts) > most:
            return f"dup_{unit}_frac"
        if (sum(map(len, parts)) - sum(map(len, unique))) / len(text) > most_chars:
            return f"dup_{unit}_char_frac"
    return ""


def _of_n_grams(chars: int, words: Words, rules: RepetitionRules) -> str:
    ends = np.concatenate([[0], np.cumsum(words.lengths)])
    most_often = len(words)
    for size, share in rules.top_n_gram_chars:
        if len(words) < size:
            continue
        longest = int((ends[size:] - ends[:-size]).max()) + size - 1
        if most_often * longest <= share * chars:  # no n-gram is more frequent than the top shorter one
            continue
        most_often, top_chars = _top(words, size, ends)
        if top_chars > share * chars:
            return f"top_{size}_gram"
    return _duplicated(chars, words, ends, rules)


def _top(words: Words, size: int, ends: NDArray[Any]) -> tuple[int, int]:
    """How often the most frequent n-gram occurs (the earliest, if several do), and its characters in all."""
    _, first, counts = np.unique(windows(words.hashes, size), return_index=True, return_counts=True)
    most = counts.max()
    start = int(first[counts == most].min())
    length = int(ends[start + size] - ends[start]) + size - 1  # words are joined by a blank
    return int(most), length * int(most)


def _duplicated(chars: int, words: Words, ends: NDArray[Any], rules: RepetitionRules) -> str:
    if not rules.duplicate_n_gram_chars:
        return ""
    shortest = min(size for size, _ in rules.duplicate_n_gram_chars)
    least = min(share for _, share in rules.duplicate_n_gram_chars)
    if _covered(words, shortest) <= least * chars:
        return ""
    for size, share in rules.duplicate_n_gram_chars:
        if _repeated_chars(windows(words.hashes, size).tolist(), size, ends) > share * chars:
            return f"duplicated_{size}_n_grams"
    return ""


def _covered(words: Words, size: int) -> int:
    """Characters of all words that are part of any n-gram which occurs twice: no count below can exceed it."""
    grams = windows(words.hashes, size)
    ordered = np.sort(grams)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if not len(twice):
        return 0
    starts = np.isin(grams, twice)
    part = np.zeros(len(words), np.bool_)
    for place in range(size):
        part[place : place + len(starts)] |= starts
    return int(words.lengths[part].sum())


def _repeated_chars(grams: list[int], size: int, ends: NDArray[Any]) -> int:
    """Characters in n-grams seen before, counted left to right without overlap."""
    seen: set[int] = set()
    total = place = 0
    while place < len(grams):
        if grams[place] in seen:
            total += int(ends[place + size] - ends[place])
            place += size
        else:
            seen.add(grams[place])
            place += 1
    return total
