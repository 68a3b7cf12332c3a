"""Exact and near duplicates: keys of a record, and what to keep when the keys of all records are known.

Near duplicates are found with MinHash and banding (Broder 1997; Lee et al. 2021): two texts share a band with
probability 1 - (1 - s**rows)**bands, where s is the Jaccard similarity of their shingles. Those that share one are
of one cluster, and so are friends of friends. Which records form a cluster does not depend on their order.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stoker.recipes.curation.record import Content, Message
from stoker.recipes.curation.words import Hashes, Vocabulary, windows, word_hash

Bands = NDArray[np.uint64]  # a row for each record, a column for each band
_SEED = 42
_NO_BAND = 0  # of records that have no shingle


@dataclass(frozen=True)
class Banding:
    """`bands` of `rows` hashes over shingles of `words` words."""

    bands: int
    rows: int
    words: int

    @property
    def hashes(self) -> int:
        return self.bands * self.rows


TEXT = Banding(bands=14, rows=8, words=5)  # half of the pairs at 0.72 similarity; FineWeb's and datatrove's choice
CHAT = Banding(bands=7, rows=16, words=3)  # half of the pairs at 0.89


def exact_key(content: Content) -> int:
    """64 bits that equal contents share, whatever their case and white space."""
    if isinstance(content, str):
        return _key(content)
    return _key("\x1e".join(f"{turn['role']}\x1f{turn['content']}" for turn in content))


def prompt_key(content: Content) -> int:
    """The same for all of a conversation but its system message and last answer; for a text, its exact key."""
    if isinstance(content, str):
        return _key(content)
    asked = [turn for turn in content[:-1] if turn["role"] != "system"]
    return _key("\x1e".join(turn["content"] for turn in asked))


def _key(text: str) -> int:
    folded = text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()
    return word_hash(" ".join(folded.split()))


class Signer:
    """Bands of records. Not the place to compare them: bands of different workers compare as well."""

    def __init__(self, banding: Banding, vocabulary: Vocabulary) -> None:
        self._banding = banding
        self._vocabulary = vocabulary

    def bands(self, contents: Sequence[Content]) -> Bands:
        """Shape (records, bands); a row of zeros for a record too short to compare."""
        from rensa import RMinHash

        if not contents:
            return np.zeros((0, self._banding.bands), np.uint64)
        shingles = [self._shingles(content) for content in contents]
        ends = np.cumsum([0, *map(len, shingles)], dtype=np.uint64)
        matrix = RMinHash.digest_matrix_from_flat_token_hashes(
            np.concatenate(shingles), ends, self._banding.hashes, _SEED
        )
        minima = np.array(matrix.to_rows(), np.uint64).reshape(len(contents), self._banding.bands, -1)
        bands: Bands = np.zeros(minima.shape[:2], np.uint64)
        for column in range(self._banding.bands):
            bands[:, column] = windows(minima[:, column].T, self._banding.rows)[0]
        bands ^= self._guards(contents)[:, None]
        bands[np.diff(ends) == 0] = _NO_BAND
        return bands

    def _shingles(self, content: Content) -> Hashes:
        if isinstance(content, str):
            return windows(self._vocabulary.plain(content), self._banding.words)
        words = self._vocabulary.plain("\n".join(turn["content"] for turn in content[:-1]))
        return windows(words, min(self._banding.words, max(len(words), 1)))

    def _guards(self, contents: Sequence[Content]) -> Hashes:
        """What must be equal besides: in conversations the last answer, and every number asked about."""
        return np.array([0 if isinstance(content, str) else _guard(content) for content in contents], np.uint64)


def _guard(content: Sequence[Message]) -> int:
    asked = "\n".join(turn["content"] for turn in content[:-1])
    answer = _LOOSE.sub("", unicodedata.normalize("NFKC", content[-1]["content"]).casefold())
    return word_hash("\x1e".join([answer, *_NUMBERED.findall(asked)]))


_LOOSE = re.compile(r"[\W_]+")
_NUMBERED = re.compile(r"[^\s,;:!?()]*\d[^\s,;:!?()]*")


@dataclass(frozen=True)
class Verdicts:
    """For each record, in order: why it goes ("" when it stays) and the record it goes in favour of (or -1)."""

    reasons: NDArray[np.object_]
    instead: NDArray[np.int64]


def judge(
    exact: Hashes, prompts: Hashes, bands: Bands, heldout: NDArray[np.bool_], *, near: bool = True
) -> Verdicts:
    """Which of n records go: shapes (n,), (n,), (n, bands), (n,).

    The first of equals stays. A training record too like a held-out one goes, whichever came first; held-out
    records go only when they are equal.
    """
    verdicts = Verdicts(np.full(len(exact), "", object), np.full(len(exact), -1, np.int64))
    first = _first_with_same(exact, heldout)
    _drop(verdicts, first, heldout, "exact_duplicate", "decontamination.equal")
    alive = verdicts.reasons == ""
    same_prompt = np.where(alive & ~heldout, _heldout_with_same(prompts, heldout & alive), -1)
    _drop(verdicts, same_prompt, heldout, "", "decontamination.same_prompt")
    if near:
        places = np.flatnonzero(verdicts.reasons == "")
        labels = clusters(bands, places)
        best = _first_with_same(labels.astype(np.uint64), heldout[places])
        instead = np.full(len(exact), -1, np.int64)
        instead[places] = np.where(best < 0, -1, places[best])
        instead[heldout] = -1
        _drop(verdicts, instead, heldout, "near_duplicate", "decontamination.near_duplicate")
    return Verdicts(verdicts.reasons, _last(verdicts.instead))


def _drop(
    verdicts: Verdicts, instead: NDArray[np.int64], heldout: NDArray[np.bool_], same_split: str, across: str
) -> None:
    places = np.flatnonzero(instead >= 0)
    crossing = heldout[instead[places]] & ~heldout[places]
    verdicts.instead[places] = instead[places]
    verdicts.reasons[places] = np.where(crossing, across, same_split)


def _last(instead: NDArray[np.int64]) -> NDArray[np.int64]:
    """Follow each chain "goes in favour of" to the record that stays."""
    while True:
        following = np.where(instead < 0, -1, instead[instead])
        if (following < 0).all():
            return instead
        instead = np.where(following < 0, instead, following)


def _first_with_same(keys: Hashes, preferred: NDArray[np.bool_]) -> NDArray[np.int64]:
    """For each place the first place with the same key, a preferred one before others; -1 for that one itself."""
    order = np.lexsort((np.arange(len(keys)), ~preferred, keys))
    ordered = keys[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])[: len(keys)])
    sizes = np.diff(np.append(starts, len(keys)))
    first = np.empty(len(keys), np.int64)
    first[order] = np.repeat(order[starts], sizes)
    first[first == np.arange(len(keys))] = -1
    return first


def _heldout_with_same(keys: Hashes, heldout: NDArray[np.bool_]) -> NDArray[np.int64]:
    """For each place a held-out place with the same key, or -1."""
    places = np.flatnonzero(heldout)
    if not len(places):
        return np.full(len(keys), -1, np.int64)
    order = places[np.argsort(keys[places], kind="stable")]
    found = np.searchsorted(keys[order], keys).clip(max=len(order) - 1)
    return np.where(keys[order[found]] == keys, order[found], -1)


def clusters(bands: Bands, places: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each of `places` (rows of `bands`) the position in `places` of the first record of its cluster."""
    labels = np.arange(len(places), dtype=np.int64)
    edges = [_neighbours(bands[:, column][places]) for column in range(bands.shape[1])]
    left = np.concatenate([pair[0] for pair in edges])
    right = np.concatenate([pair[1] for pair in edges])
    while True:
        smaller = np.minimum(labels[left], labels[right])
        before = labels.copy()
        for ends in (labels[left], labels[right], left, right):  # roots too, so that clusters merge as wholes
            np.minimum.at(labels, ends, smaller)
        labels = labels[labels]
        if np.array_equal(before, labels):
            return labels


def _neighbours(keys: Hashes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of places with equal keys that hold each group of equals together."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    equal = np.flatnonzero((ordered[1:] == ordered[:-1]) & (ordered[1:] != _NO_BAND))
    return order[equal], order[equal + 1]
