"""Lists in OpenAI's form: a page begins after the id that ended the one before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

from stoker.errors import NotFound


class HasId(Protocol):
    @property
    def id(self) -> str: ...


T = TypeVar("T", bound=HasId)


@dataclass(frozen=True)
class Listing(Generic[T]):
    data: tuple[T, ...]
    has_more: bool = False
    first_id: str | None = None
    last_id: str | None = None
    object: Literal["list"] = "list"


def after(items: Sequence[T], last_seen: str, limit: int) -> Listing[T]:
    """At most `limit` of `items`, from behind the one with the id `last_seen` (empty: from the start)."""
    ids = [item.id for item in items]
    if last_seen and last_seen not in ids:
        raise NotFound(f'after: no "{last_seen}" in this list')
    start = ids.index(last_seen) + 1 if last_seen else 0
    page = tuple(items[start : start + limit])
    first, last = (page[0].id, page[-1].id) if page else (None, None)
    return Listing(page, start + limit < len(items), first, last)
