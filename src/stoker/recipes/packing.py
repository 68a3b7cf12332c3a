"""Many short records in one row without padding: each sees itself and what all records share, nothing else.

Records of a dataset usually begin alike (the system text of the chat template). That beginning stands once at
the head of a row; every record attends to it and to itself, at the positions it would have alone. The result
is the same as computing the records one by one, without computing the beginning again and again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile

from stoker.recipes.chatmask import Tokens

SHARED = -1  # segment of the common beginning


@dataclass(frozen=True)
class Row:
    """One packed sequence of L tokens."""

    ids: tuple[int, ...]  # [L]
    positions: tuple[int, ...]  # [L] position of each token within its own record
    segments: tuple[int, ...]  # [L] which record a token belongs to; SHARED for the common beginning
    predicts: tuple[int, ...]  # indices i whose output is trained to be `targets`
    targets: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def pairs(self) -> int:
        """Query-key pairs that packed attention forms: every record padded to the longest, plus the beginning."""
        shared = self.segments.count(SHARED)
        lengths = Counter(self.segments[shared:])
        longest = max(lengths.values(), default=0)
        return len(lengths) * longest * (shared + longest) + shared * shared


def common_beginning(records: Sequence[Tokens]) -> int:
    """How many tokens all records start with, at most up to one before the first trained token."""
    if len(records) < 2:
        return 0
    columns = zip(*(record.ids for record in records), strict=False)
    shared = sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, columns))
    first_trained = min(record.trained.index(True) for record in records)
    return max(0, min(shared, first_trained - 1))


def rows(records: Sequence[Tokens], shared: int, length: int) -> Iterator[Row]:
    """Pack `records` in their order into rows of at most `length` tokens; a longer record gets its own row."""
    waiting: list[Tokens] = []
    used = shared
    for record in records:
        size = len(record) - shared
        if waiting and used + size > length:
            yield pack(waiting, shared)
            waiting, used = [], shared
        waiting.append(record)
        used += size
    if waiting:
        yield pack(waiting, shared)


def pack(records: Sequence[Tokens], shared: int) -> Row:
    ids = list(records[0].ids[:shared])
    positions, segments = list(range(shared)), [SHARED] * shared
    predicts: list[int] = []
    targets: list[int] = []
    for segment, record in enumerate(records):
        start = len(ids) - shared  # a token at position p of this record stands at start + p
        ids += record.ids[shared:]
        positions += range(shared, len(record))
        segments += [segment] * (len(record) - shared)
        wanted = [at for at in range(max(shared, 0) + 1, len(record)) if record.trained[at]]
        predicts += [start + at - 1 for at in wanted]
        targets += [record.ids[at] for at in wanted]
    return Row(tuple(ids), tuple(positions), tuple(segments), tuple(predicts), tuple(targets))


def split_text(ids: Sequence[int], length: int) -> Iterator[Tokens]:
    """A long document as records of at most `length` tokens, every token trained but the first of each."""
    for start in range(0, len(ids), length):
        piece = tuple(ids[start : start + length])
        if len(piece) > 1:
            yield Tokens(piece, (False,) + (True,) * (len(piece) - 1))
