"""Gopher's repetition rules (Rae et al. 2021, arXiv 2112.11446, table A1), in the reading of datatrove 0.10.

datatrove counts with Python sets over joined strings. Here n-grams are 64-bit hashes, and bounds settle most texts
without an exact count: no n-gram is more frequent than its parts, and none recurs where its parts do not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stoker.recipes.curation.words import Hashes, Words


@dataclass(frozen=True)
class RepetitionRules:
    """Largest shares; those of characters are of all characters of the text."""

    duplicate_paragraphs: float = 0.3
    duplicate_paragraph_chars: float = 0.2
    duplicate_lines: float = 0.3
    duplicate_line_chars: float = 0.2
    top_n_gram_least: int = 1  # an n-gram that occurs less often is no repetition
    top_n_gram_chars: tuple[tuple[int, float], ...] = ((2, 0.2), (3, 0.18), (4, 0.16))
    duplicate_n_gram_chars: tuple[tuple[int, float], ...] = (
        (5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.10),
    )  # fmt: skip


def repetition(text: str, words: Words, rules: RepetitionRules) -> str:
    """The name of the first rule that `text` (normalised) breaks, or ""."""
    return _of_lines(text, rules) or _of_n_grams(len(text), words, rules)


def _of_lines(text: str, rules: RepetitionRules) -> str:
    for unit, parts, most, most_chars in (
        ("para", text.split("\n\n"), rules.duplicate_paragraphs, rules.duplicate_paragraph_chars),
        ("line", [line for line in text.split("\n") if line], rules.duplicate_lines, rules.duplicate_line_chars),
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
    ends = np.concatenate([[0], np.cumsum(words.lengths, dtype=np.int64)])
    most_often = len(words)
    for size, share in rules.top_n_gram_chars:
        if len(words) < size:
            continue
        longest = int((ends[size:] - ends[:-size]).max()) + size - 1
        if most_often * longest <= share * chars:  # no n-gram is more frequent than the top shorter one
            continue
        grams = words.grams(size)
        most_often = _most_often(grams)
        if most_often < rules.top_n_gram_least:
            break
        if most_often * longest > share * chars and _top(grams, size, ends) > share * chars:
            return f"top_{size}_gram"
    return _duplicated(chars, words, ends, rules)


def _top(grams: Hashes, size: int, ends: NDArray[np.int64]) -> int:
    """Characters of the most frequent n-gram (the earliest, if several are) times how often it occurs."""
    _, first, counts = np.unique(grams, return_index=True, return_counts=True)
    most = int(counts.max())
    start = int(first[counts == most].min())
    length = int(ends[start + size] - ends[start]) + size - 1  # words are joined by a blank
    return length * most


def _most_often(grams: Hashes) -> int:
    """How often the most frequent of `grams` occurs."""
    ordered = np.sort(grams)
    if not (ordered[1:] == ordered[:-1]).any():
        return 1
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1], [True])))
    return int((starts[1:] - starts[:-1]).max())


def _duplicated(chars: int, words: Words, ends: NDArray[np.int64], rules: RepetitionRules) -> str:
    if not rules.duplicate_n_gram_chars:
        return ""
    shortest = min(size for size, _ in rules.duplicate_n_gram_chars)
    least = min(share for _, share in rules.duplicate_n_gram_chars)
    places = _recurring(words.grams(shortest))
    if int((ends[places + shortest] - ends[places]).sum()) <= least * chars:
        return ""
    for size, share in rules.duplicate_n_gram_chars:
        if _repeated_chars(places, words.grams(size), size, ends) > share * chars:
            return f"duplicated_{size}_n_grams"
    return ""


def _recurring(grams: Hashes) -> NDArray[np.intp]:
    """Places of those `grams` that occur more than once, in order."""
    ordered = np.sort(grams)
    if not (ordered[1:] == ordered[:-1]).any():  # most often; sorting alone is faster than finding places too
        return np.zeros(0, np.intp)
    order = np.argsort(grams)
    equal = grams[order[1:]] == grams[order[:-1]]
    return np.sort(order[np.concatenate((equal, [False])) | np.concatenate(([False], equal))])


def _repeated_chars(places: NDArray[np.intp], grams: Hashes, size: int, ends: NDArray[np.int64]) -> int:
    """Characters in n-grams seen before, counted left to right without overlap.

    Only `places` are looked at: a longer n-gram can recur only where a shorter one does.
    """
    places = places[places < len(grams)]
    chars = (ends[places + size] - ends[places]).tolist()
    seen: set[int] = set()
    total = free = 0
    for place, gram, length in zip(places.tolist(), grams[places].tolist(), chars, strict=True):
        if place < free:
            continue
        if gram in seen:
            total += length
            free = place + size
        else:
            seen.add(gram)
    return total
