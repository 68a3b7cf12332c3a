"""Tally: how often each reason struck, with the first few examples."""

from __future__ import annotations

from typing import Any

EXAMPLES = 5
_SHOWN = 160  # characters of an example that reports carry


class Tally:
    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._examples: dict[str, list[dict[str, str]]] = {}

    def add(self, reason: str, source: str, detail: str = "") -> None:
        self._counts[reason] = self._counts.get(reason, 0) + 1
        examples = self._examples.setdefault(reason, [])
        if len(examples) < EXAMPLES:
            examples.append({"source": source, "detail": shown(detail, _SHOWN)})

    @property
    def total(self) -> int:
        return sum(self._counts.values())

    @property
    def counts(self) -> dict[str, int]:
        return dict(self._counts)

    @property
    def most_frequent(self) -> str:
        return next(iter(self.to_json()), "")

    def first(self, reason: str) -> str | None:
        """The detail of the first record that `reason` struck; None when it struck none."""
        examples = self._examples.get(reason)
        return examples[0]["detail"] if examples else None

    def to_json(self) -> dict[str, Any]:
        """``{reason: {"count": n, "examples": [{"source", "detail"}]}}``, the most frequent first."""
        order = sorted(self._counts, key=lambda reason: (-self._counts[reason], reason))
        return {reason: {"count": self._counts[reason], "examples": self._examples[reason]} for reason in order}

    def sentence(self, most: int = 3) -> str:
        """``no_answer 1,085 (data.jsonl:7), empty 12 (data.jsonl:9)``: the biggest reasons for an error message."""
        return ", ".join(
            f"{reason} {entry['count']:,} ({shown(entry['examples'][0]['source'])})"
            for reason, entry in list(self.to_json().items())[:most]
        )


def shown(text: str, most: int = 120) -> str:
    """`text` fit for one line of a terminal: unprintable characters escaped, long ones cut."""
    cut = text[:most]
    safe = (
        cut
        if cut.isprintable()
        else "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)
    )
    return safe + ("…" if len(text) > most else "")
