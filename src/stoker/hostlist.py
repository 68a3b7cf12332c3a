"""Node expressions as Slurm writes them: ``gpu[12-19,23]``, ``rack[1-2]n[01-04]``, ``a1,b[2-3]``."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator

from stoker.errors import BadInput

_MOST = 10_000  # names that one expression may stand for
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)
_RANGE = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?", re.ASCII)
_LONGEST = 4096  # characters of one expression


def expand(text: str) -> tuple[str, ...]:
    """The names that `text` stands for, each once, in its order. Leading zeros are kept: ``n[08-10]``.

    Raises BadInput for what is no expression, and for one of more than 10,000 names.
    """
    if len(text) > _LONGEST:
        raise BadInput(f"a node expression of {len(text)} characters was given; allowed are {_LONGEST}")
    names = itertools.chain.from_iterable(_one(part.strip(), text) for part in _split(text))
    found = tuple(dict.fromkeys(itertools.islice(names, _MOST + 1)))
    if len(found) > _MOST:
        raise BadInput(f'"{text}" names more than {_MOST} nodes; give them in several calls')
    return found


def expand_all(texts: Iterable[str]) -> tuple[str, ...]:
    """The names of several expressions, each once."""
    return tuple(dict.fromkeys(name for text in texts for name in expand(text)))


def _split(text: str) -> list[str]:
    """The parts between commas that stand outside brackets."""
    return re.split(r",(?![^\[]*\])", text)


def _one(part: str, whole: str) -> Iterator[str]:
    pieces = re.split(r"\[([^\[\]]*)\]", part)  # text, list, text, list, ..., text
    choices = [list(_numbers(piece, whole)) if place % 2 else [piece] for place, piece in enumerate(pieces)]
    for combination in itertools.product(*choices):
        name = "".join(combination)
        if not _NAME.fullmatch(name):
            raise _wrong(whole)
        yield name


def _numbers(inner: str, whole: str) -> Iterator[str]:
    for item in inner.split(","):
        match = _RANGE.fullmatch(item.strip())
        if not match:
            raise _wrong(whole)
        first, last = match[1], match[2] or match[1]
        if int(last) < int(first):
            raise BadInput(f'"{whole}" holds the range {first}-{last}, which goes backwards')
        if int(last) - int(first) >= _MOST:
            raise BadInput(f'"{whole}" names more than {_MOST} nodes; give them in several calls')
        yield from (str(number).zfill(len(first)) for number in range(int(first), int(last) + 1))


def _wrong(text: str) -> BadInput:
    return BadInput(f'"{text}" is no node expression; write for example gpu3, gpu[12-19] or gpu[1,4-6],cpu2')
