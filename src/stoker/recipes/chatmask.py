"""Chat messages to tokens, and which of them are trained: what the assistant says, and nothing else.

The text comes from the model's own chat template. What the assistant says is found by comparing the rendering
up to a message with the rendering including it, so templates without ``{% generation %}`` work too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stoker.errors import BadInput

Message = Mapping[str, str]
Span = tuple[int, int]


@dataclass(frozen=True)
class Tokens:
    """One record as the model sees it; `trained[i]` says whether predicting token i counts."""

    ids: tuple[int, ...]
    trained: tuple[bool, ...]

    def __len__(self) -> int:
        return len(self.ids)


def chat(tokenizer: Any, messages: Sequence[Message]) -> Tokens:
    """Tokens of a conversation, ending with the last trained one. Raises BadInput when nothing is trained."""
    text, spans = assistant_spans(tokenizer, messages)
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    trained = [_inside(offset, spans) for offset in encoded["offset_mapping"]]
    if not any(trained):
        raise BadInput("a record has no assistant message with content; nothing in it can be trained")
    end = max(index for index, value in enumerate(trained) if value) + 1
    return Tokens(tuple(encoded["input_ids"][:end]), tuple(trained[:end]))


def prompt(tokenizer: Any, messages: Sequence[Message]) -> tuple[int, ...]:
    """Tokens of a conversation that the assistant shall continue."""
    text = _render(tokenizer, messages, ask=True)
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])


def assistant_spans(tokenizer: Any, messages: Sequence[Message]) -> tuple[str, list[Span]]:
    """The rendered conversation and the character spans of what the assistant says, each with its end mark."""
    whole = _render(tokenizer, messages, ask=False)
    spans: list[Span] = []
    for index, message in enumerate(messages):
        if message["role"] == "assistant" and message["content"].strip():
            after = spans[-1][1] if spans else 0
            spans.append(_span(tokenizer, messages, index, whole, after))
    return whole, spans


def _span(tokenizer: Any, messages: Sequence[Message], index: int, whole: str, after: int) -> Span:
    before = _render(tokenizer, messages[:index], ask=True)
    until = _render(tokenizer, messages[: index + 1], ask=False)
    if whole.startswith(until) and until.startswith(before):
        return len(before), _end(tokenizer, whole, len(before), len(until))
    # The template rewrites earlier turns (it drops their reasoning, say): find the words themselves.
    content = messages[index]["content"].strip()
    start = whole.find(content, after)
    if start < 0:
        raise BadInput(
            f'the chat template changes the assistant message "{content[:60]}" so that it cannot be found again; '
            "use a template that prints messages unchanged"
        )
    return start, _end(tokenizer, whole, start, _after_end_mark(tokenizer, whole, start + len(content)))


def _end(tokenizer: Any, whole: str, start: int, until: int) -> int:
    """Without the line break that many templates put after the end mark: no server ever asks for it."""
    mark = tokenizer.eos_token or ""
    shorter = start + len(whole[start:until].rstrip())
    return shorter if mark and whole[:shorter].endswith(mark) else until


def _after_end_mark(tokenizer: Any, whole: str, at: int) -> int:
    mark = tokenizer.eos_token or ""
    rest = whole[at:]
    gap = len(rest) - len(rest.lstrip())
    return at + gap + len(mark) if mark and rest.lstrip().startswith(mark) else at


def _render(tokenizer: Any, messages: Sequence[Message], *, ask: bool) -> str:
    if not messages:
        return ""
    from jinja2 import TemplateError

    try:
        return str(tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=ask))
    except (TemplateError, ValueError) as error:
        raise BadInput(f"the model's chat template refuses the messages: {error}") from None


def _inside(offset: Span, spans: Sequence[Span]) -> bool:
    begin, end = offset
    return begin < end and any(start <= begin and end <= stop for start, stop in spans)
