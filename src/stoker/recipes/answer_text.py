"""From tokens to the text a client may see: whole characters only, and nothing of a stop string."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class AnswerText:
    """Grows token by token; hands out text as soon as no stop string can begin in it any more."""

    def __init__(self, tokenizer: Any, stops: Sequence[str]) -> None:
        from tokenizers.decoders import DecodeStream

        self._tokenizer = tokenizer.backend_tokenizer
        self._stream = DecodeStream(skip_special_tokens=True)  # holds back incomplete UTF-8
        self._stops = [stop for stop in stops if stop]
        self._held = ""
        self.stopped = False

    def add(self, token: int) -> str:
        """The text that is certain now; sets `stopped` when a stop string has come."""
        self._held += self._stream.step(self._tokenizer, token) or ""
        found = [place for stop in self._stops if (place := self._held.find(stop)) >= 0]
        if found:
            self.stopped = True
            return self._release(min(found))
        return self._release(len(self._held) - self._begun())

    def end(self) -> str:
        """What was held back, when the answer ends without a stop string."""
        return "" if self.stopped else self._release(len(self._held))

    def _begun(self) -> int:
        """Characters at the end that may be the beginning of a stop string."""
        longest = max(map(len, self._stops), default=1) - 1
        lengths = range(min(longest, len(self._held)), 0, -1)
        return next(
            (size for size in lengths if any(stop.startswith(self._held[-size:]) for stop in self._stops)), 0
        )

    def _release(self, count: int) -> str:
        text, self._held = self._held[:count], self._held[count:]
        return text
