"""Cleaning: everything that can be decided about a record by looking at it alone. Runs in worker processes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stoker.recipes.curation import dedup
from stoker.recipes.curation.language import UNKNOWN, language_of
from stoker.recipes.curation.normalise import normalise
from stoker.recipes.curation.pii import mask
from stoker.recipes.curation.quality import Quality, RuleSet
from stoker.recipes.curation.record import Content, Kind, Message, Rejected, content_of
from stoker.recipes.curation.tally import shown
from stoker.recipes.curation.words import Hashes, Vocabulary
from stoker.typed import strict

_SAMPLE = 400  # characters of a dropped record that are kept to look at


@strict
@dataclass(frozen=True)
class CurateConfig:
    quality: RuleSet = "documents"
    """Rules against bad text: "documents" for what people chose to give, "web" for crawled pages (Gopher and C4 as
    published), "none". Conversations get three rules of their own unless "none"."""
    languages: tuple[str, ...] = ()
    """ISO 639-1 codes to keep; empty keeps all. Records too short to tell are kept."""
    identify_language: bool = True
    """Whether to look at the language at all; without it the English rules apply to every text."""
    mask_pii: bool = True
    """Put placeholders for email addresses, phone, identity and card numbers, public IP addresses and secrets."""
    near_duplicates: bool = True
    """Drop near duplicates as well as equal records."""
    heldout_fraction: float = 0.05
    """Share to hold out for evaluation when the data has no held-out part (at least one record); 0 for none."""
    workers: int = 0
    """Processes; 0 takes what the machine has, and one for little data."""


@dataclass(frozen=True)
class Dropped:
    reason: str
    source: str
    sample: str


@dataclass
class Cleaned:
    """What became of a chunk of records; the arrays have an entry for each line kept."""

    lines: list[bytes] = field(default_factory=list)
    exact: Hashes = field(default_factory=lambda: np.zeros(0, np.uint64))
    prompts: Hashes = field(default_factory=lambda: np.zeros(0, np.uint64))
    bands: dedup.Bands = field(default_factory=lambda: np.zeros((0, 0), np.uint64))
    heldout: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    dropped: list[Dropped] = field(default_factory=list)
    languages: dict[str, int] = field(default_factory=dict)
    masked: dict[str, int] = field(default_factory=dict)
    masked_records: int = 0


class Cleaner:
    """Cleans chunks of one dataset. It remembers words between chunks: faster, with the same results."""

    def __init__(self, kind: Kind, config: CurateConfig) -> None:
        self._kind = kind
        self._config = config
        vocabulary = Vocabulary()
        self._quality = Quality(config.quality, vocabulary)
        self._signer = dedup.Signer(dedup.TEXT if kind == "text" else dedup.CHAT, vocabulary)

    def clean(self, lines: Sequence[bytes]) -> Cleaned:
        """`lines` of ``records.jsonl``: those that stay, as lines to be written, with their keys."""
        cleaned = Cleaned()
        kept: list[Content] = []
        heldout: list[bool] = []
        for line in lines:
            fields = json.loads(line)
            content = self._content(fields, cleaned)
            if content is not None:
                kept.append(content)
                heldout.append(fields["split"] == "heldout")
                cleaned.lines.append(_line(fields, content))
        cleaned.exact = np.array([dedup.exact_key(content) for content in kept], np.uint64)
        cleaned.prompts = cleaned.exact
        if self._kind == "chat":
            cleaned.prompts = np.array([dedup.prompt_key(content) for content in kept], np.uint64)
        cleaned.heldout = np.array(heldout, np.bool_)
        if self._config.near_duplicates:
            cleaned.bands = self._signer.bands(kept)
        return cleaned

    def _content(self, fields: Mapping[str, Any], cleaned: Cleaned) -> Content | None:
        content = content_of(fields)
        try:
            return self._text(content, cleaned) if isinstance(content, str) else self._chat(content, cleaned)
        except Rejected as rejected:
            sample = rejected.detail[:_SAMPLE]
            if self._config.mask_pii:  # it may have been dropped before its turn to be masked
                sample, _ = mask(sample)
            sample = shown(" ".join(sample.split()), _SAMPLE)
            cleaned.dropped.append(Dropped(rejected.reason, fields["source"], sample))
            return None

    def _text(self, text: str, cleaned: Cleaned) -> str:
        text = normalise(text)
        if not text:
            raise Rejected("empty")
        language = self._language(text, cleaned)
        (text,) = self._masked([text], cleaned)
        return self._quality.of_text(text, language)

    def _chat(self, messages: list[Message], cleaned: Cleaned) -> list[Message]:
        texts = [normalise(turn["content"]) for turn in messages]
        if not all(texts):
            raise Rejected("empty", messages[0]["content"])
        self._language("\n".join(texts), cleaned)
        texts = self._masked(texts, cleaned)
        turns: list[Message] = [
            {"role": turn["role"], "content": text} for turn, text in zip(messages, texts, strict=True)
        ]
        self._quality.of_chat(turns)
        return turns

    def _language(self, text: str, cleaned: Cleaned) -> str:
        if not self._config.identify_language:
            return "en"
        language = language_of(text)
        cleaned.languages[language] = cleaned.languages.get(language, 0) + 1
        if self._config.languages and language not in (*self._config.languages, UNKNOWN):
            raise Rejected(f"language.{language}", text)
        return language

    def _masked(self, texts: list[str], cleaned: Cleaned) -> list[str]:
        if not self._config.mask_pii:
            return texts
        masked = [mask(text) for text in texts]
        cleaned.masked_records += any(counts for _, counts in masked)
        for _, counts in masked:
            for kind, count in counts.items():
                cleaned.masked[kind] = cleaned.masked.get(kind, 0) + count
        return [text for text, _ in masked]


def _line(fields: Mapping[str, Any], content: Content) -> bytes:
    name = "text" if isinstance(content, str) else "messages"
    value = {"id": fields["id"], name: content, "source": fields["source"]}
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"
