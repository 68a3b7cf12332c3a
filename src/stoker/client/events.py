"""The event stream of a chat."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from stoker.client.connection import error_from


def pieces(lines: Iterable[str], url: str) -> Iterator[str]:
    """The text in the chunks of ``data:`` `lines`; raises the error that broke the stream off, if one did."""
    for line in lines:
        if not line.startswith("data:"):
            continue
        data = line.removeprefix("data:").strip()
        if data == "[DONE]":
            return
        chunk = json.loads(data)
        if "error" in chunk:
            raise error_from(502, data.encode(), url)
        for choice in chunk.get("choices", []):
            yield choice.get("delta", {}).get("content") or ""
