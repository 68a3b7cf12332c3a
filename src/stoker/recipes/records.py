"""A dataset artifact as tokens."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stoker.errors import BadInput
from stoker.recipes import chatmask, packing
from stoker.recipes.chatmask import Tokens


def read(data: Path, split: str) -> Iterator[dict[str, Any]]:
    """The records of ``train`` or ``heldout``, in order."""
    with (data / f"{split}.jsonl").open(encoding="utf-8") as file:
        for line in file:
            if line.strip():
                yield json.loads(line)


def kind(data: Path) -> str:
    """``chat`` or ``text``."""
    return str(json.loads((data / "result.json").read_text())["kind"])


def check_template(tokenizer: Any, base: Path) -> None:
    if not tokenizer.chat_template:
        raise BadInput(
            f"{base} has no chat template, so it cannot be trained on conversations; use an instruct model, "
            "or give raw text"
        )


def tokens(tokenizer: Any, record: Mapping[str, Any], max_length: int) -> list[Tokens]:
    """One conversation, cut at `max_length`, or a text as pieces of at most `max_length`.

    Empty when no answer is left in what is kept. Raises BadInput naming the record.
    """
    if "messages" in record:
        whole = _conversation(tokenizer, record)
        cut = Tokens(whole.ids[:max_length], whole.trained[:max_length])
        return [cut] if any(cut.trained[1:]) else []
    ids = tokenizer(record["text"], add_special_tokens=True)["input_ids"]
    if tokenizer.eos_token_id is not None and ids[-1:] != [tokenizer.eos_token_id]:
        ids = [*ids, tokenizer.eos_token_id]
    return list(packing.split_text(ids, max_length))


def _conversation(tokenizer: Any, record: Mapping[str, Any]) -> Tokens:
    try:
        return chatmask.chat(tokenizer, record["messages"])
    except BadInput as error:
        raise BadInput(f"record {record['id']}: {error}", param="data") from None
