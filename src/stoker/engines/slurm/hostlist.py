"""Slurm's short form of many names: ``gpu[00-03,7],login`` is gpu00, gpu01, gpu02, gpu03, gpu7 and login."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stoker.errors import BadInput

MOST = 100_000
_PART = re.compile(r"[^,\[]*(?:\[[^\]]*\][^,\[]*)*")


def expand(text: str) -> tuple[str, ...]:
    """Every name, in order. Raises BadInput for what is no host list, or one of more than MOST names."""
    names: list[str] = []
    position = 0
    while position < len(text):
        match = _PART.match(text, position)
        if match is None or not match[0] or text[match.end() : match.end() + 1] not in ("", ","):
            raise BadInput(f'"{text}" is no list of nodes')
        names += _expand_one(match[0], text)
        if len(names) > MOST:
            raise BadInput(f"a list of more than {MOST} nodes was given")
        position = match.end() + 1  # behind the comma
    return tuple(names)


def _expand_one(part: str, text: str) -> list[str]:
    head, bracket, rest = part.partition("[")
    if not bracket:
        return [head]
    inside, closed, tail = rest.partition("]")
    if not closed:
        raise BadInput(f'"{text}" is no list of nodes: a bracket is not closed')
    tails = _expand_one(tail, text) if "[" in tail else [tail]
    return [f"{head}{number}{end}" for number in _numbers(inside, text) for end in tails]


def _numbers(inside: str, text: str) -> Iterator[str]:
    for span in inside.split(","):
        first, dash, last = span.partition("-")
        if not first.isdigit() or (dash and not last.isdigit()) or int(last or 0) - int(first) > MOST:
            raise BadInput(f'"{text}" is no list of nodes: "{span}" is no range')
        for number in range(int(first), int(last if dash else first) + 1):
            yield str(number).zfill(len(first))


def numbers(text: str) -> tuple[int, ...]:
    """``0-2,5`` is 0, 1, 2, 5; empty for Slurm's words for none."""
    if not text or not text[0].isdigit():
        return ()
    return tuple(int(number) for number in _numbers(text, text))
