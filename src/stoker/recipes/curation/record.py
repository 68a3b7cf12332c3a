"""Record: one training example, a conversation or a raw text, and the checks that make it one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

Kind = Literal["chat", "text"]
Split = Literal["train", "heldout"]


class Message(TypedDict):
    role: str  # "system", "user" or "assistant"
    content: str


Content = list[Message] | str


class Rejected(Exception):
    """One record cannot be used: `reason` is counted, `detail` is shown as an example."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Record:
    """A conversation that ends in an answer (`content` is a list) or a text (`content` is a str)."""

    content: Content
    split: Split
    source: str  # "folder/file.jsonl:12", below the user's folder

    @property
    def kind(self) -> Kind:
        return "text" if isinstance(self.content, str) else "chat"

    @property
    def id(self) -> str:
        """16 hex digits of place and content: unique in a dataset, the same in every import of it."""
        place = self.source.encode() + b"\0" + content_bytes(self.content)
        return hashlib.blake2b(place, digest_size=8).hexdigest()

    def to_json(self) -> dict[str, Any]:
        field = "text" if isinstance(self.content, str) else "messages"
        return {"id": self.id, field: self.content, "split": self.split, "source": self.source}


def content_of(fields: Mapping[str, Any]) -> Content:
    """The conversation or text of one line of `records.jsonl`."""
    content: Content = fields["text"] if "text" in fields else fields["messages"]
    return content


def content_bytes(content: Content) -> bytes:
    """The one spelling of a content that digests are taken of."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def checked_text(text: object) -> str:
    """`text` when it can be trained on; raises Rejected: not_text, empty, nul_byte, broken_utf8."""
    if not isinstance(text, str):
        raise Rejected("not_text", f"{type(text).__name__} where text is needed")
    if not text.strip():
        raise Rejected("empty")
    if "\0" in text:
        raise Rejected("nul_byte", text[:80])
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Rejected("broken_utf8", text[:80]) from None
    return text


def checked_messages(messages: object) -> list[Message]:
    """A conversation every chat template takes: an optional system message, then user and assistant in turn.

    Turns after the last answer teach nothing and are cut off. Raises Rejected: not_messages, bad_roles,
    no_answer, and what `checked_text` raises.
    """
    if not isinstance(messages, list) or not all(isinstance(item, Mapping) for item in messages):
        raise Rejected("not_messages", f"{type(messages).__name__} where a list of messages is needed")
    if not messages:
        raise Rejected("empty")
    turns = [_turn(item) for item in messages]
    while turns and turns[-1]["role"] != "assistant":
        turns.pop()
    if not turns or not turns[-1]["content"].strip():
        raise Rejected("no_answer", _first_words(messages))
    _check_order([turn["role"] for turn in turns])
    for turn in turns:
        checked_text(turn["content"])
    return turns


_ROLES = {
    "system": "system", "developer": "system", "user": "user", "human": "user", "assistant": "assistant",
    "gpt": "assistant", "model": "assistant", "bot": "assistant", "chatgpt": "assistant",
}  # fmt: skip


def _turn(item: Mapping[str, Any]) -> Message:
    """OpenAI's ``{"role", "content"}`` or ShareGPT's ``{"from", "value"}``."""
    if item.get("tool_calls") or item.get("function_call"):
        raise Rejected("tool_calls", "calls of tools cannot be trained on")
    given = item.get("role", item.get("from"))
    role = _ROLES.get(given.lower()) if isinstance(given, str) else None
    if role is None:
        raise Rejected("bad_roles", f"role {given!r:.40}")
    return {"role": role, "content": _flat(item.get("content", item.get("value")))}


def _flat(content: object) -> str:
    """Text, or OpenAI's list of parts when all of them are text; None is the empty answer."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(isinstance(part, Mapping) and "text" in part for part in content):
        return "".join(str(part["text"] or "") for part in content)
    raise Rejected("not_text", "a message has parts that are no text")


def _check_order(roles: list[str]) -> None:
    talk = roles[1:] if roles[0] == "system" else roles
    expected = ["user", "assistant"] * (len(talk) // 2)
    if talk != expected:
        raise Rejected("bad_roles", " ".join(roles)[:80])


def _first_words(messages: list[Mapping[str, Any]]) -> str:
    return str(messages[0].get("content", messages[0].get("value", "")))[:80]
